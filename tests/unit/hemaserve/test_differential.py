"""Cells are counted where they belong, and the limits are those of the exact tables."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from hemaserve.cells import FACTS, PRIMARY_TYPES, CellType, Kind, primary_of
from hemaserve.differential import CountedCell, ReviewReason, clopper_pearson, count

cells = st.builds(
    CountedCell,
    cell_type=st.one_of(st.none(), st.sampled_from(CellType)),
    identified=st.booleans(),
    kind=st.sampled_from(Kind),
)


def named(cell_type: CellType, how_many: int = 1) -> list[CountedCell]:
    return [CountedCell(cell_type, identified=True)] * how_many


def unnamed(how_many: int = 1) -> list[CountedCell]:
    return [CountedCell(CellType.MONOCYTE, identified=False)] * how_many


class TestLimits:
    @pytest.mark.parametrize(
        ("found", "n", "low", "high"),
        [
            # Rümke's table for leukocyte differentials, to more digits: 95% limits in percent.
            (0, 100, 0.0, 3.62),
            (1, 100, 0.03, 5.45),
            (5, 100, 1.64, 11.28),
            (10, 100, 4.90, 17.62),
            (50, 100, 39.83, 60.17),
            (100, 100, 96.38, 100.0),
            (0, 200, 0.0, 1.83),
            (20, 200, 6.22, 15.02),
            (200, 400, 44.99, 55.01),
            (0, 1, 0.0, 97.5),
        ],
    )
    def test_they_are_the_tables(self, found, n, low, high):
        got_low, got_high = clopper_pearson(found, n)
        assert 100 * got_low == pytest.approx(low, abs=0.006)
        assert 100 * got_high == pytest.approx(high, abs=0.006)

    @given(st.integers(1, 500), st.data(), st.floats(0.5, 0.999))
    def test_they_enclose_the_share_and_leave_half_the_rest_in_each_tail(self, n, data, confidence):
        found = data.draw(st.integers(0, n))
        low, high = clopper_pearson(found, n, confidence)
        assert 0 <= low <= found / n <= high <= 1
        tail = (1 - confidence) / 2
        if found > 0:
            assert binom.sf(found - 1, n, low) == pytest.approx(tail, rel=1e-6)
        if found < n:
            assert binom.cdf(found, n, high) == pytest.approx(tail, rel=1e-6)

    @given(st.integers(1, 400), st.data())
    def test_they_mirror(self, n, data):
        found = data.draw(st.integers(0, n))
        low, high = clopper_pearson(found, n)
        assert clopper_pearson(n - found, n) == pytest.approx((1 - high, 1 - low), abs=1e-9)

    @pytest.mark.parametrize(
        ("found", "n", "confidence"), [(0, 0, 0.95), (-1, 5, 0.95), (6, 5, 0.95), (1, 5, 0.0), (1, 5, 1.0)]
    )
    def test_there_are_none_for_what_cannot_be(self, found, n, confidence):
        with pytest.raises(ValueError, match="no interval"):
            clopper_pearson(found, n, confidence)


class TestCount:
    def test_a_usual_hundred(self):
        result = count(
            [
                *named(CellType.NEUTROPHIL_SEGMENTED, 50),
                *named(CellType.NEUTROPHIL_BAND, 4),
                *named(CellType.NEUTROPHIL, 6),
                *named(CellType.LYMPHOCYTE, 30),
                *named(CellType.MONOCYTE, 7),
                *named(CellType.EOSINOPHIL, 3),
                *named(CellType.ERYTHROBLAST, 2),
                *named(CellType.PLATELET, 9),
                *unnamed(3),
            ]
        )
        assert [(share.cell_type, share.count) for share in result.leukocytes] == [
            (CellType.NEUTROPHIL, 60),
            (CellType.LYMPHOCYTE, 30),
            (CellType.MONOCYTE, 7),
            (CellType.EOSINOPHIL, 3),
            (CellType.BASOPHIL, 0),
            (CellType.IMMATURE_GRANULOCYTE, 0),
        ]
        assert [(share.cell_type, share.count) for share in result.finer] == [
            (CellType.NEUTROPHIL_BAND, 4),
            (CellType.NEUTROPHIL_SEGMENTED, 50),
        ]
        neutrophils = result.leukocytes[0]
        assert neutrophils.percent == pytest.approx(60)
        assert (neutrophils.percent_low, neutrophils.percent_high) == pytest.approx((49.72, 69.67), abs=0.01)
        assert (result.erythroblasts.count, result.erythroblasts.percent) == (2, pytest.approx(2))
        assert result.erythroblasts.percent_low is None
        assert result.identified_leukocytes == 100
        assert result.unidentified == 3
        assert result.unidentified_share == pytest.approx(3 / 103)
        assert result.review_reasons == ()

    def test_no_cells_are_a_result_without_percentages(self):
        result = count([])
        assert [share.count for share in result.leukocytes] == [0] * 6
        assert all(share.percent is None and share.percent_low is None for share in result.leukocytes)
        assert result.erythroblasts.percent is None
        assert (result.identified_leukocytes, result.unidentified_share, result.review_reasons) == (0, 0, ())

    def test_erythroblasts_may_outnumber_leukocytes(self):
        result = count([*named(CellType.LYMPHOCYTE, 10), *named(CellType.ERYTHROBLAST, 25)])
        assert result.erythroblasts.percent == pytest.approx(250)
        assert result.identified_leukocytes == 10

    @pytest.mark.parametrize("cell_type", [CellType.PLATELET, CellType.SMUDGE, CellType.ARTEFACT])
    def test_what_is_no_nucleated_cell_is_counted_nowhere(self, cell_type):
        assert count(named(cell_type, 5)) == count([])

    def test_types_that_only_some_networks_know_appear_when_found(self):
        result = count([*named(CellType.BLAST, 2), *named(CellType.REACTIVE_LYMPHOCYTE, 3)])
        shares = {share.cell_type: share.count for share in result.leukocytes}
        assert shares[CellType.BLAST] == 2
        assert shares[CellType.LYMPHOCYTE] == 3
        assert [share.cell_type for share in result.finer] == [CellType.REACTIVE_LYMPHOCYTE]
        assert result.identified_leukocytes == 5

    def test_a_type_unknown_to_this_version_is_unidentified(self):
        assert count([CountedCell(None, identified=True)]).unidentified == 1

    @pytest.mark.parametrize("kind", [Kind.PLATELET, Kind.RBC])
    @pytest.mark.parametrize("identified", [True, False])
    def test_classifying_further_kinds_does_not_change_the_differential(self, kind, identified):
        white = [*named(CellType.LYMPHOCYTE, 3), *unnamed()]
        other = CountedCell(CellType.LYMPHOCYTE, identified=identified, kind=kind)
        assert count([*white, other]) == count(white)

    def test_review_begins_above_the_limit_and_not_at_it(self):
        at = [*named(CellType.LYMPHOCYTE, 19), *unnamed(1)]
        assert count(at).review_reasons == ()
        assert count([*at, *unnamed(1)]).review_reasons == (ReviewReason.UNIDENTIFIED_ABOVE_LIMIT,)
        assert count([*at, *unnamed(1)], unidentified_limit=0.5).review_reasons == ()

    def test_reasons_are_added_once_and_in_order(self):
        result = count(unnamed()).with_review_reasons(
            [
                ReviewReason.FAILED_FIELDS,
                ReviewReason.TOO_FEW_LEUKOCYTES,
                ReviewReason.UNIDENTIFIED_ABOVE_LIMIT,
            ]
        )
        assert result.review_reasons == (
            ReviewReason.UNIDENTIFIED_ABOVE_LIMIT,
            ReviewReason.TOO_FEW_LEUKOCYTES,
            ReviewReason.FAILED_FIELDS,
        )

    @given(st.lists(cells, max_size=60), st.randoms())
    def test_the_order_of_cells_does_not_matter(self, found, random):
        shuffled = list(found)
        random.shuffle(shuffled)
        assert count(shuffled) == count(found)

    @given(st.lists(cells, max_size=60))
    def test_every_white_cell_is_counted_exactly_once_or_belongs_nowhere(self, found):
        result = count(found)
        white = [cell for cell in found if cell.kind is Kind.WBC]
        nowhere = {CellType.PLATELET, CellType.SMUDGE, CellType.ARTEFACT}
        left_out = sum(cell.identified_type in nowhere for cell in white)
        assert sum(share.count for share in result.leukocytes) == result.identified_leukocytes
        assert (
            result.identified_leukocytes + result.erythroblasts.count + result.unidentified + left_out
            == len(white)
        )
        assert result.identified_leukocytes == sum(cell.is_identified_leukocyte for cell in found)

    @given(st.lists(cells, max_size=60))
    def test_percentages_add_up_and_lie_within_their_limits(self, found):
        result = count(found)
        if result.identified_leukocytes:
            assert sum(share.percent for share in result.leukocytes) == pytest.approx(100)
        for share in (*result.leukocytes, *result.finer):
            if share.percent is not None:
                assert 0 <= share.percent_low <= share.percent <= share.percent_high <= 100

    @given(st.lists(cells, max_size=60))
    def test_leaves_never_exceed_their_parents(self, found):
        result = count(found)
        parents = {share.cell_type: share.count for share in result.leukocytes}
        for parent in PRIMARY_TYPES:
            leaves = sum(share.count for share in result.finer if primary_of(share.cell_type) is parent)
            assert leaves <= parents.get(parent, 0)
        assert all(FACTS[share.cell_type].parent is not None for share in result.finer)
