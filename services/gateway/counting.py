"""From what was found in a field to what is counted of it."""

import math
import struct

from hemaserve.cells import Kind
from hemaserve.differential import Differential, ReviewReason, count
from hemaserve.tally import FieldScreenTally, FieldTally, SlidePosition, TalliedCell
from hemaserve.v1 import cells_pb2
from services.gateway.orders import FieldOrder
from services.gateway.pipeline import AnalyzedCell, FieldAnalysis
from services.runtime.translate import type_from_proto


def tally_of(field: FieldOrder, analysis: FieldAnalysis) -> FieldTally:
    """What an analysed field adds to its smear's count: its white cells, with their places where they are known.

    A cell's diameter is that of the square with its box's area.
    """
    return FieldTally(
        field_id=field.field_id,
        sequence=field.sequence,
        cells=tuple(_tallied(field, cell) for cell in analysis.cells if cell.kind is Kind.WBC),
        degraded=analysis.degraded,
        image_sha256=analysis.image_sha256,
        screen=_screen_tally(analysis),
        classifier=analysis.provenance.classifier.name,
    )


def differential_of(tally: FieldTally, *, unidentified_limit: float) -> Differential:
    """The differential over one field alone."""
    differential = count(tally.cells, unidentified_limit=unidentified_limit)
    reasons = [ReviewReason.DEGRADED] if tally.degraded else []
    if tally.screen is not None and tally.screen.flagged:
        reasons.append(ReviewReason.SCREEN_FLAGGED)
    return differential.with_review_reasons(reasons)


def _screen_tally(analysis: FieldAnalysis) -> FieldScreenTally | None:
    if analysis.screen is None:
        return None
    # Whatever their types, and identified or not.
    found = [cell.screen.flagged for cell in analysis.cells if cell.screen is not None]
    return FieldScreenTally(analysis.screen.flagged, sum(found), len(found))


def _tallied(field: FieldOrder, cell: AnalyzedCell) -> TalliedCell:
    box, said = cell.detection.box, cell.classification
    position, diameter_um = None, 0.0
    if field.um_per_px is not None:
        diameter_um = _as_float32(math.sqrt(_area_px(box)) * field.um_per_px)
        if field.stage_position is not None:
            position = SlidePosition(
                field.stage_position.x_um + (box.x0_px + box.x1_px) / 2 * field.um_per_px,
                field.stage_position.y_um + (box.y0_px + box.y1_px) / 2 * field.um_per_px,
            )
    return TalliedCell(
        cell_type=type_from_proto(said.type),
        identified=said.identified,
        position=position,
        diameter_um=diameter_um,
    )


def _area_px(box: cells_pb2.Box) -> float:
    return max(box.x1_px - box.x0_px, 0.0) * max(box.y1_px - box.y0_px, 0.0)


def _as_float32(value: float) -> float:
    # As the contract carries it: a tally that was sent out and handed back must count exactly as it did here.
    return float(struct.unpack("<f", struct.pack("<f", value))[0])
