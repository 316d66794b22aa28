"""Ids of results: the same question, put to the same networks about the same image, has the same id for ever.

They are UUIDs of version 5 (RFC 9562) over what the answer depends on, so a field that is sent again after a broken
stream does not leave two results behind, and nothing needs to be stored. An accession number is never part of them: it
could be guessed from the id.
"""

import json
import uuid
from collections.abc import Iterable, Sequence
from typing import Any, Final

from hemaserve.tally import FieldTally
from hemaserve.v1 import cells_pb2
from services.gateway.orders import AnalyzeOptions

_NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_DNS, "result.hemaserve.v1")


def field_result_id(
    smear_id: str,
    tally: FieldTally,
    options: AnalyzeOptions,
    provenance: cells_pb2.Provenance,
    *,
    um_per_px: float | None = None,
    reason: str = "",
) -> str:
    """The id of one field's result.

    Args:
        smear_id: the field's smear; empty for a field alone.
        um_per_px: the scale that the detector was told.
        reason: the reason of the error, for a field that could not be analysed.
    """
    networks = (provenance.detector, provenance.classifier, *provenance.members)
    return _id(
        "field",
        smear_id,
        tally.field_id,
        tally.sequence,
        tally.image_sha256,
        [options.model, options.detector_model, sorted(options.kinds), options.crop_encoding],
        _networks(networks),
        provenance.preprocessing_version,
        [provenance.site_profile.name, provenance.site_profile.sha256],
        um_per_px,
        tally.degraded,
        reason,
        # Without a screen, as if there were no such thing: ids are for ever.
        *([_networks(provenance.screens)] if options.screen else []),
    )


def smear_result_id(smear_id: str, target: int, tallies: Sequence[FieldTally]) -> str:
    """The id of a smear's result, over the fields that it rests on: a resumed stream gives the same one."""
    fields = [
        [
            tally.field_id,
            tally.sequence,
            tally.image_sha256,
            tally.failed,
            tally.degraded,
            [[cell.cell_type, cell.identified] for cell in tally.cells],
            *_screen(tally),
        ]
        for tally in tallies
    ]
    return _id("smear", smear_id, target, fields)


def _networks(networks: Iterable[cells_pb2.ModelProvenance]) -> list[list[str]]:
    return [[network.name, network.version, network.sha256] for network in networks]


def _screen(tally: FieldTally) -> list[int]:
    screen = tally.screen
    return [] if screen is None else [screen.field_flagged, screen.cells_flagged, screen.cells_screened]


def _id(*parts: Any) -> str:
    return uuid.uuid5(_NAMESPACE, json.dumps(parts, ensure_ascii=True, separators=(",", ":"))).hex
