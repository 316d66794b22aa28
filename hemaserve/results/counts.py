"""What is said of fields and smears as a whole."""

from collections.abc import Mapping
from dataclasses import dataclass

from hemaserve.cells import CellType, Kind
from hemaserve.results.findings import Cell, Failure, Provenance, ScreenFinding
from hemaserve.results.words import ResultStatus, ReviewReason, SmearEnd


@dataclass(frozen=True, slots=True)
class TypeShare:
    """A type's share of the identified leukocytes.

    Attributes:
        type: None when unknown to this client.
        percent: per 100 identified leukocytes; None when there are none.
        percent_low, percent_high: exact (Clopper-Pearson) 95% limits; None with `percent` and for erythroblasts.
        loinc: code of the share; empty where there is none.
    """

    type: CellType | None
    count: int
    percent: float | None
    percent_low: float | None
    percent_high: float | None
    loinc: str


@dataclass(frozen=True, slots=True)
class Differential:
    """Cells by type.

    Attributes:
        leukocytes: all primary types of leukocytes, also those with none.
        finer: leaves below them, as far as cells were named that finely.
        erythroblasts: per 100 leukocytes; None when the service did not report them.
        identified_leukocytes: the denominator.
        unidentified: cells that the classifier would not name, in neither the denominator nor the target.
        unidentified_share: unidentified / (identified leukocytes + unidentified), 0 to 1.
        review_reasons: why this should be reviewed first.
    """

    leukocytes: tuple[TypeShare, ...]
    finer: tuple[TypeShare, ...]
    erythroblasts: TypeShare | None
    identified_leukocytes: int
    unidentified: int
    unidentified_share: float
    review_reasons: tuple[ReviewReason, ...]


@dataclass(frozen=True, slots=True)
class FieldResult:
    """What was found in one field. `error` is set, and there are no cells, when it could not be analysed.

    Attributes:
        cells: the classified cells, best detection first.
        kind_counts: how many objects of each kind the detector found, classified or not.
        differential: over this field alone; None for a field of a smear, whose result has the differential.
        screen: what the leukemia screen says of the field as a whole, where it was asked for.
    """

    result_id: str
    revision: int
    status: ResultStatus
    supersedes_result_id: str
    field_id: str
    sequence: int
    width_px: int
    height_px: int
    cells: tuple[Cell, ...]
    kind_counts: Mapping[Kind, int]
    image_sha256: str
    provenance: Provenance
    error: Failure | None = None
    differential: Differential | None = None
    screen: ScreenFinding | None = None


@dataclass(frozen=True, slots=True)
class SmearScreen:
    """The leukemia screen over a smear's counted fields: reasons to look, never a diagnosis.

    Attributes:
        fields_screened: fields that were screened.
        fields_flagged: fields that were flagged as a whole.
        cells_screened: white cells that were screened.
        cells_flagged: white cells that were flagged.
        flagged_field_ids: fields that were flagged as a whole or hold a flagged cell, in sequence order, at most 100.
    """

    fields_screened: int
    fields_flagged: int
    cells_screened: int
    cells_flagged: int
    flagged_field_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SmearResult:
    """The differential of a smear.

    Attributes:
        target: identified leukocytes asked for; 0 for none.
        fields_counted: failed ones not among them.
        last_sequence: of the last field that was counted.
        counted_elsewhere: cells left out because an overlapping field shows them too.
        fields: the field results in sequence order.
        screen: the leukemia screen, where it was asked for.
    """

    result_id: str
    revision: int
    status: ResultStatus
    supersedes_result_id: str
    smear_id: str
    specimen: str
    differential: Differential
    end: SmearEnd
    target: int
    fields_counted: int
    failed_field_ids: tuple[str, ...]
    last_sequence: int
    counted_elsewhere: int
    provenance: Provenance
    fields: tuple[FieldResult, ...]
    screen: SmearScreen | None = None
