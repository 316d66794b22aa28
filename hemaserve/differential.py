"""The differential: cells by type, as shares of the identified leukocytes with exact confidence limits. Pure.

What counts where: the denominator is the identified leukocytes. Erythroblasts are given per 100 of them.
Platelets, smudge cells and artefacts are counted nowhere. Cells that the classifier would not name are in
neither the denominator nor the target; they are counted apart.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final

from hemaserve.beta import beta_quantile
from hemaserve.cells import FACTS, PRIMARY_TYPES, CellType, Kind, primary_of

UNIDENTIFIED_LIMIT: Final = 0.05
"""Share of unidentified cells above which a result should be reviewed."""


class ReviewReason(StrEnum):
    """Why a result should be looked at before anything else."""

    UNIDENTIFIED_ABOVE_LIMIT = "unidentified_above_limit"
    TOO_FEW_LEUKOCYTES = "too_few_leukocytes"
    DEGRADED = "degraded"
    FAILED_FIELDS = "failed_fields"
    SCREEN_FLAGGED = "screen_flagged"


@dataclass(frozen=True, slots=True)
class CountedCell:
    """One cell as the differential sees it.

    Attributes:
        cell_type: its finest sure type; None when this version does not know the type, which makes it
            unidentified.
        identified: whether the classifier commits itself.
        kind: what the detector said. Only WBC enters the differential, so that asking for further kinds to be
            classified does not change it.
    """

    cell_type: CellType | None
    identified: bool
    kind: Kind = Kind.WBC

    @property
    def identified_type(self) -> CellType | None:
        """The type that it counts as; None for a cell that is unidentified."""
        return self.cell_type if self.identified else None

    @property
    def is_identified_leukocyte(self) -> bool:
        """Whether it belongs to the denominator, and to the target of a smear."""
        named = self.identified_type
        return self.kind is Kind.WBC and named is not None and FACTS[named].leukocyte


@dataclass(frozen=True, slots=True)
class TypeShare:
    """A type's share of the identified leukocytes.

    Attributes:
        cell_type: a primary type, or a leaf below one.
        count: identified cells of it; for a primary type its leaves included.
        percent: count per 100 identified leukocytes; None when there are none. Erythroblasts may exceed 100.
        percent_low: lower end of the exact 95% confidence interval of `percent`; None with it, and for
            erythroblasts, which are not a share of the leukocytes.
        percent_high: upper end of the same interval.
    """

    cell_type: CellType
    count: int
    percent: float | None
    percent_low: float | None = None
    percent_high: float | None = None


@dataclass(frozen=True, slots=True)
class Differential:
    """Cells by type.

    Attributes:
        leukocytes: the primary types of leukocytes, in the order of `PRIMARY_TYPES` and also those with none;
            then primary types that only some networks know (blast), where found.
        finer: leaves below the primary types that cells were named as. Cells of which only the parent is sure
            are in none of them.
        erythroblasts: erythroblasts per 100 leukocytes.
        identified_leukocytes: the denominator.
        unidentified: white cells that the classifier would not name.
        unidentified_share: unidentified / (identified leukocytes + unidentified), 0 to 1; 0 when both are 0.
        review_reasons: why this should be reviewed first, in the order of `ReviewReason`.
    """

    leukocytes: tuple[TypeShare, ...]
    finer: tuple[TypeShare, ...]
    erythroblasts: TypeShare
    identified_leukocytes: int
    unidentified: int
    unidentified_share: float
    review_reasons: tuple[ReviewReason, ...] = ()

    def with_review_reasons(self, reasons: Iterable[ReviewReason]) -> "Differential":
        """The same differential with `reasons` added to those that it has."""
        wanted = {*self.review_reasons, *reasons}
        return dataclasses.replace(self, review_reasons=tuple(r for r in ReviewReason if r in wanted))


@lru_cache(maxsize=4096)  # the few cells of fields give the same few pairs again and again
def clopper_pearson(count: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Exact two-sided confidence limits of a binomial proportion, as fractions.

    Source: Clopper and Pearson, Biometrika 26 (1934) 404-413, doi 10.1093/biomet/26.4.404, written with beta
    quantiles as in Brown, Cai and DasGupta, Statistical Science 16 (2001) 101-133, doi 10.1214/ss/1009213286.

    Raises:
        ValueError: unless 0 <= count <= n, n >= 1 and 0 < confidence < 1.
    """
    if not (n >= 1 and 0 <= count <= n and 0 < confidence < 1):
        raise ValueError(f"no interval for {count} of {n} at confidence {confidence}")
    tail = (1 - confidence) / 2
    low = 0.0 if count == 0 else beta_quantile(tail, count, n - count + 1)
    high = 1.0 if count == n else beta_quantile(1 - tail, count + 1, n - count)
    return low, high


def count(cells: Iterable[CountedCell], *, unidentified_limit: float = UNIDENTIFIED_LIMIT) -> Differential:
    """The differential of `cells`; their order does not matter.

    Args:
        cells: cells of any kind; only white ones enter.
        unidentified_limit: share of unidentified cells, 0 to 1, above which the result is flagged for review.
    """
    white = [cell for cell in cells if cell.kind is Kind.WBC]
    named = Counter(cell.identified_type for cell in white)
    unidentified = named.pop(None, 0)
    types = {cell_type: n for cell_type, n in named.items() if cell_type is not None}
    primary: Counter[CellType] = Counter()
    for cell_type, n in types.items():
        primary[primary_of(cell_type)] += n
    total = sum(n for cell_type, n in primary.items() if FACTS[cell_type].leukocyte)
    looked_at = total + unidentified
    share = unidentified / looked_at if looked_at else 0.0
    erythroblasts = primary[CellType.ERYTHROBLAST]
    return Differential(
        leukocytes=tuple(
            _share(cell_type, primary[cell_type], total)
            for cell_type in _leukocyte_primaries()
            if cell_type in PRIMARY_TYPES or primary[cell_type]
        ),
        finer=tuple(
            _share(cell_type, types[cell_type], total)
            for cell_type, facts in FACTS.items()
            if facts.parent is not None and cell_type in types
        ),
        erythroblasts=TypeShare(
            CellType.ERYTHROBLAST, erythroblasts, 100 * erythroblasts / total if total else None
        ),
        identified_leukocytes=total,
        unidentified=unidentified,
        unidentified_share=share,
        review_reasons=(ReviewReason.UNIDENTIFIED_ABOVE_LIMIT,) if share > unidentified_limit else (),
    )


def _leukocyte_primaries() -> list[CellType]:
    return [cell_type for cell_type, facts in FACTS.items() if facts.leukocyte and facts.parent is None]


def _share(cell_type: CellType, found: int, total: int) -> TypeShare:
    if total == 0:
        return TypeShare(cell_type, found, None)
    low, high = clopper_pearson(found, total)
    return TypeShare(cell_type, found, 100 * found / total, 100 * low, 100 * high)
