"""The domain's results in the contract's words. Every result is the first of its kind, and preliminary."""

from collections.abc import Iterator, Sequence
from typing import Final

from hemaserve.cells import FACTS, Kind
from hemaserve.differential import Differential, TypeShare
from hemaserve.errors import DomainError
from hemaserve.screen_count import ScreenCount
from hemaserve.tally import FieldScreenTally, FieldTally, TalliedCell
from hemaserve.v1 import gateway_pb2
from services.gateway.classify_cells import NamedCells
from services.gateway.crops import encoded
from services.gateway.identity import field_result_id, smear_result_id
from services.gateway.orders import AnalyzeOptions, SmearOrder
from services.gateway.pipeline import AnalyzedCell, FieldAnalysis
from services.gateway.smear import DoneField, SmearReport
from services.runtime.errors import to_status
from services.runtime.translate import kind_to_proto, type_to_proto

_FIRST_REVISION: Final = 1


def field_result(done: DoneField, smear_id: str, options: AnalyzeOptions) -> gateway_pb2.FieldResult:
    """A field's result. Encodes crops where they were asked for, so call it off the event loop then."""
    tally = done.tally
    result = gateway_pb2.FieldResult(
        revision=_FIRST_REVISION,
        status=gateway_pb2.RESULT_STATUS_PRELIMINARY,
        field_id=tally.field_id,
        sequence=tally.sequence,
        image_sha256=tally.image_sha256,
        tally=tally_to_proto(tally),
    )
    if done.error is not None:
        result.error.CopyFrom(to_status(done.error))
    if done.analysis is not None:
        _add_analysis(result, done.analysis, done.counted_elsewhere, options)
    result.result_id = field_result_id(
        smear_id,
        tally,
        options,
        result.provenance,
        um_per_px=done.analysis.um_per_px if done.analysis is not None else None,
        reason=done.error.reason if done.error is not None else "",
    )
    return result


def classify_cells_response(cell_ids: Sequence[str], named: NamedCells) -> gateway_pb2.ClassifyCellsResponse:
    """The answer to one request for located cells."""
    cells = [
        gateway_pb2.NamedCell(cell_id=cell_id, error=to_status(outcome))
        if isinstance(outcome, DomainError)
        else gateway_pb2.NamedCell(cell_id=cell_id, classification=outcome)
        for cell_id, outcome in zip(cell_ids, named.outcomes, strict=True)
    ]
    return gateway_pb2.ClassifyCellsResponse(cells=cells, provenance=named.provenance)


def smear_result(report: SmearReport, order: SmearOrder) -> gateway_pb2.SmearResult:
    """A smear's result."""
    outcome = report.outcome
    # Also when it was on an earlier stream of this smear: what was found there still counts.
    asked_for = order.options.screen or outcome.screen.fields_screened > 0
    return gateway_pb2.SmearResult(
        result_id=smear_result_id(order.smear_id, order.target, report.tallies),
        revision=_FIRST_REVISION,
        status=gateway_pb2.RESULT_STATUS_PRELIMINARY,
        smear_id=order.smear_id,
        specimen=order.specimen,
        differential=differential_to_proto(outcome.differential),
        end=gateway_pb2.SmearEnd.Value(f"SMEAR_END_{outcome.end.name}"),
        target=order.target,
        fields_counted=outcome.fields_counted,
        failed_field_ids=outcome.failed_field_ids,
        last_sequence=outcome.last_sequence,
        counted_elsewhere=outcome.counted_elsewhere,
        provenance=report.provenance,
        screen=_smear_screen(outcome.screen) if asked_for else None,
    )


def differential_to_proto(differential: Differential) -> gateway_pb2.Differential:
    """A differential."""
    return gateway_pb2.Differential(
        leukocytes=map(_share, differential.leukocytes),
        finer=map(_share, differential.finer),
        erythroblasts=_share(differential.erythroblasts),
        identified_leukocytes=differential.identified_leukocytes,
        unidentified=differential.unidentified,
        unidentified_share=differential.unidentified_share,
        review_reasons=[
            gateway_pb2.ReviewReason.Value(f"REVIEW_REASON_{reason.name}")
            for reason in differential.review_reasons
        ],
    )


def tally_to_proto(tally: FieldTally) -> gateway_pb2.FieldTally:
    """What a field adds to its smear's count."""
    return gateway_pb2.FieldTally(
        field_id=tally.field_id,
        sequence=tally.sequence,
        cells=map(_tallied, tally.cells),
        failed=tally.failed,
        image_sha256=tally.image_sha256,
        degraded=tally.degraded,
        screen=None if tally.screen is None else _screen_tally(tally.screen),
        classifier=tally.classifier,
    )


def _screen_tally(screen: FieldScreenTally) -> gateway_pb2.FieldScreenTally:
    return gateway_pb2.FieldScreenTally(
        field_flagged=screen.field_flagged,
        cells_flagged=screen.cells_flagged,
        cells_screened=screen.cells_screened,
    )


def _smear_screen(screen: ScreenCount) -> gateway_pb2.SmearScreen:
    return gateway_pb2.SmearScreen(
        fields_screened=screen.fields_screened,
        fields_flagged=screen.fields_flagged,
        cells_screened=screen.cells_screened,
        cells_flagged=screen.cells_flagged,
        flagged_field_ids=screen.flagged_field_ids,
    )


def _add_analysis(
    result: gateway_pb2.FieldResult,
    analysis: FieldAnalysis,
    counted_elsewhere: tuple[bool, ...],
    options: AnalyzeOptions,
) -> None:
    result.width_px = analysis.width_px
    result.height_px = analysis.height_px
    result.kind_counts.extend(
        gateway_pb2.KindCount(kind=kind_to_proto(kind), count=count)
        for kind, count in analysis.kind_counts.items()
    )
    result.provenance.CopyFrom(analysis.provenance)
    if analysis.screen is not None:
        result.screen.CopyFrom(analysis.screen)
    left_out = iter(counted_elsewhere)
    result.cells.extend(_cell(cell, left_out, options) for cell in analysis.cells)


def _cell(cell: AnalyzedCell, left_out: Iterator[bool], options: AnalyzeOptions) -> gateway_pb2.Cell:
    # The tally has the white cells only, in the order of all cells.
    tallied = cell.kind is Kind.WBC
    return gateway_pb2.Cell(
        detection=cell.detection,
        classification=cell.classification,
        crop=None if cell.crop is None else encoded(cell.crop, options.crop_encoding),
        counted_elsewhere=tallied and next(left_out, False),
        screen=cell.screen,
    )


def _tallied(cell: TalliedCell) -> gateway_pb2.TalliedCell:
    tallied = gateway_pb2.TalliedCell(
        identified=cell.identified,
        type=type_to_proto(cell.cell_type),
        diameter_um=cell.diameter_um,
    )
    if cell.position is not None:
        tallied.position.x_um, tallied.position.y_um = cell.position.x_um, cell.position.y_um
    return tallied


def _share(share: TypeShare) -> gateway_pb2.TypeShare:
    return gateway_pb2.TypeShare(
        type=type_to_proto(share.cell_type),
        count=share.count,
        percent=share.percent,
        percent_low=share.percent_low,
        percent_high=share.percent_high,
        loinc=FACTS[share.cell_type].loinc or "",
    )
