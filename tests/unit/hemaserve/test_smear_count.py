"""A smear's answer depends on its fields alone: not on which was done first, nor on how often the stream broke."""

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hemaserve.cells import CellType
from hemaserve.differential import ReviewReason, count
from hemaserve.errors import InvalidArgument
from hemaserve.screen_count import ScreenCount
from hemaserve.smear_count import SmearCount, SmearEnd, SmearOutcome
from hemaserve.tally import FieldScreenTally, FieldTally, SlidePosition, TalliedCell, shown_before


def lymphocytes(how_many: int) -> tuple[TalliedCell, ...]:
    return (TalliedCell(CellType.LYMPHOCYTE, True),) * how_many


def tally(sequence: int, cells: tuple[TalliedCell, ...] = (), **facts) -> FieldTally:
    return FieldTally(f"field-{sequence}", sequence, cells, **facts)


# Few places on a small slide, so that fields often show the same cell.
positions = st.one_of(
    st.none(), st.builds(SlidePosition, st.sampled_from([0, 5, 10, 40]), st.sampled_from([0, 40]))
)
tallied_cells = st.builds(
    TalliedCell,
    cell_type=st.sampled_from(
        [None, CellType.LYMPHOCYTE, CellType.NEUTROPHIL_BAND, CellType.ERYTHROBLAST, CellType.SMUDGE]
    ),
    identified=st.booleans(),
    position=positions,
    diameter_um=st.sampled_from([0.0, 12.0]),
)
screen_tallies = st.builds(
    lambda flagged, some, others: FieldScreenTally(flagged, some, some + others),
    st.booleans(),
    st.integers(0, 2),
    st.integers(0, 9),
)


@st.composite
def smears(draw) -> list[FieldTally]:
    """Fields in ascending sequence, with gaps."""
    sequences = sorted(draw(st.sets(st.integers(0, 40), max_size=8)))
    return [
        tally(
            sequence,
            tuple(draw(st.lists(tallied_cells, max_size=4))),
            failed=draw(st.sampled_from([False, False, False, True])),
            degraded=draw(st.sampled_from([False, False, True])),
            screen=draw(st.one_of(st.none(), screen_tallies)),
        )
        for sequence in sequences
    ]


def counted_one_after_the_other(fields: Sequence[FieldTally], target: int) -> SmearOutcome:
    """The answer by the plainest way: one field at a time, in sequence."""
    cells: list[TalliedCell] = []
    good: list[FieldTally] = []
    failed: list[str] = []
    elsewhere = 0
    reached = False
    for field in fields:
        if field.failed:
            failed.append(field.field_id)
            continue
        seen = shown_before(field.cells, cells)
        cells += [cell for cell, known in zip(field.cells, seen, strict=True) if not known]
        elsewhere += sum(seen)
        good.append(field)
        if target and sum(cell.is_identified_leukocyte for cell in cells) >= target:
            reached = True
            break
    reasons = []
    if target and not reached:
        reasons.append(ReviewReason.TOO_FEW_LEUKOCYTES)
    if any(field.degraded for field in good):
        reasons.append(ReviewReason.DEGRADED)
    if failed:
        reasons.append(ReviewReason.FAILED_FIELDS)
    if any(field.screen and field.screen.flagged for field in good):
        reasons.append(ReviewReason.SCREEN_FLAGGED)
    unreached = SmearEnd.TOO_FEW if target else SmearEnd.ALL_COUNTED
    return SmearOutcome(
        differential=count(cells).with_review_reasons(reasons),
        end=SmearEnd.TARGET_REACHED if reached else unreached,
        fields_counted=len(good),
        failed_field_ids=tuple(failed),
        last_sequence=good[-1].sequence if good else 0,
        counted_elsewhere=elsewhere,
        degraded=any(field.degraded for field in good),
        screen=screen_of(good),
    )


def screen_of(good: Sequence[FieldTally]) -> ScreenCount:
    screened = [field for field in good if field.screen]
    screens = [field.screen for field in screened]
    return ScreenCount(
        fields_screened=len(screens),
        fields_flagged=sum(screen.field_flagged for screen in screens),
        cells_screened=sum(screen.cells_screened for screen in screens),
        cells_flagged=sum(screen.cells_flagged for screen in screens),
        flagged_field_ids=tuple(field.field_id for field in screened if field.screen.flagged),
    )


def stream(
    smear: SmearCount, fields: Sequence[FieldTally], random: Random, *, steps: int | None = None
) -> list[FieldTally]:
    """Announce `fields` in order, complete them in any order, until the count is finished or after `steps`.

    Returns:
        The fields that were completed.
    """
    coming, working, done = list(fields), [], []
    ended = False
    while not smear.finished and (steps is None or steps > 0):
        steps = None if steps is None else steps - 1
        choices = (["announce"] if coming else []) + (["complete"] if working else [])
        if not coming and not ended:
            choices.append("end")
        match random.choice(choices):
            case "announce":
                if smear.announce(coming[0].field_id, coming[0].sequence):
                    working.append(coming[0])
                coming.pop(0)
            case "complete":
                done.append(working.pop(random.randrange(len(working))))
                smear.complete(done[-1])
            case "end":
                smear.end_of_fields()
                ended = True
    return done


class TestAnswer:
    @given(smears(), st.integers(0, 8), st.randoms(use_true_random=False))
    @settings(max_examples=150)
    def test_it_does_not_depend_on_the_order_of_completion(self, fields, target, random):
        smear = SmearCount(target)
        stream(smear, fields, random)
        assert smear.result() == counted_one_after_the_other(fields, target)

    @given(
        smears(),
        st.integers(0, 8),
        st.lists(st.integers(0, 12), max_size=3),
        st.randoms(use_true_random=False),
    )
    @settings(max_examples=150)
    def test_it_does_not_depend_on_how_often_the_stream_broke(self, fields, target, breaks, random):
        received: list[FieldTally] = []
        for steps in [*breaks, None]:
            smear = SmearCount(target, received=random.sample(received, len(received)))
            known = {field.field_id for field in received}
            # A careful client sends what is missing; a careless one sends everything again.
            careless = random.random() < 0.3
            missing = [field for field in fields if careless or field.field_id not in known]
            done = stream(smear, missing, random, steps=steps)
            # Not every result that was sent before the break arrived.
            received += [field for field in done if random.random() < 0.7]
        assert smear.result() == counted_one_after_the_other(fields, target)

    @given(smears(), st.integers(0, 8), st.randoms(use_true_random=False))
    @settings(max_examples=150)
    def test_it_does_not_depend_on_which_tallies_are_handed_back(self, fields, target, random):
        received = random.sample(fields, random.randint(0, len(fields)))
        smear = SmearCount(target, received=received)
        stream(smear, [field for field in fields if field not in received], random)
        assert smear.result() == counted_one_after_the_other(fields, target)

    @given(smears(), st.randoms(use_true_random=False))
    def test_the_order_of_cells_within_a_field_does_not_matter(self, fields, random):
        target = 4
        shuffled = [replace(f, cells=tuple(random.sample(f.cells, len(f.cells)))) for f in fields]
        assert counted(fields, target) == counted(shuffled, target)


def counted(fields: Sequence[FieldTally], target: int) -> SmearOutcome:
    smear = SmearCount(target)
    stream(smear, fields, Random(0))
    return smear.result()


class TestTarget:
    def test_quick_sparse_fields_do_not_overtake(self):
        smear = SmearCount(2)
        for sequence in (1, 2, 3):
            smear.announce(f"field-{sequence}", sequence)
        smear.complete(tally(3, lymphocytes(5)))
        smear.complete(tally(2, lymphocytes(1)))
        assert not smear.finished
        smear.complete(tally(1, lymphocytes(1)))
        assert smear.finished
        outcome = smear.result()
        assert (outcome.end, outcome.last_sequence, outcome.fields_counted) == (SmearEnd.TARGET_REACHED, 2, 2)
        assert outcome.differential.identified_leukocytes == 2

    def test_the_field_that_reaches_it_counts_whole(self):
        outcome = counted([tally(1, lymphocytes(3)), tally(2, lymphocytes(9)), tally(3, lymphocytes(1))], 4)
        assert outcome.differential.identified_leukocytes == 12

    def test_only_identified_leukocytes_count_towards_it(self):
        others = (
            TalliedCell(CellType.LYMPHOCYTE, False),
            TalliedCell(CellType.ERYTHROBLAST, True),
            TalliedCell(None, True),
        )
        outcome = counted([tally(1, others), tally(2, lymphocytes(1)), tally(3, lymphocytes(1))], 1)
        assert outcome.last_sequence == 2

    def test_too_few_is_said_plainly(self):
        outcome = counted([tally(1, lymphocytes(1))], 100)
        assert outcome.end is SmearEnd.TOO_FEW
        assert ReviewReason.TOO_FEW_LEUKOCYTES in outcome.differential.review_reasons

    def test_without_one_all_fields_count(self):
        outcome = counted([tally(1, lymphocytes(300)), tally(2, lymphocytes(300))], 0)
        assert outcome.end is SmearEnd.ALL_COUNTED
        assert outcome.differential.identified_leukocytes == 600

    def test_it_is_not_negative(self):
        with pytest.raises(ValueError, match="target"):
            SmearCount(-1)

    def test_what_is_done_after_the_end_changes_nothing(self):
        smear = SmearCount(1)
        smear.announce("field-1", 1)
        smear.announce("field-2", 2)
        smear.complete(tally(1, lymphocytes(1)))
        before = smear.result()
        smear.complete(tally(2, lymphocytes(7)))
        smear.end_of_fields()
        assert smear.result() == before
        assert smear.counted_elsewhere("field-2") is None

    def test_no_fields_are_a_result(self):
        assert counted([], 0).fields_counted == 0
        assert counted([], 100).end is SmearEnd.TOO_FEW


class TestResuming:
    def test_a_field_lost_between_handed_back_ones_is_waited_for(self):
        smear = SmearCount(2, received=[tally(3, lymphocytes(2)), tally(1, lymphocytes(1))])
        assert smear.identified_leukocytes == 0
        assert smear.announce("field-2", 2)
        assert smear.identified_leukocytes == 1
        smear.complete(tally(2, lymphocytes(1)))
        assert smear.finished
        assert smear.result().last_sequence == 2

    def test_a_handed_back_tally_waits_while_a_lost_field_may_still_come_before_it(self):
        smear = SmearCount(3, received=[tally(5, lymphocytes(1))])
        smear.announce("field-3", 3)
        smear.complete(tally(3, lymphocytes(2)))
        assert not smear.finished
        smear.announce("field-4", 4)
        smear.complete(tally(4, lymphocytes(1)))
        assert smear.result().last_sequence == 4

    def test_handed_back_tallies_alone_can_be_the_whole_smear(self):
        smear = SmearCount(0, received=[tally(2, lymphocytes(2)), tally(1, lymphocytes(1))])
        assert not smear.finished
        smear.end_of_fields()
        assert smear.result().differential.identified_leukocytes == 3

    def test_a_field_that_was_handed_back_is_not_analysed_again(self):
        smear = SmearCount(0, received=[tally(1, lymphocytes(1))])
        assert smear.announce("field-1", 1) is False
        smear.end_of_fields()
        assert smear.result().differential.identified_leukocytes == 1

    def test_the_same_tally_twice_is_harmless_and_a_different_one_is_not(self):
        first = tally(1, lymphocytes(1))
        SmearCount(0, received=[first, first])
        with pytest.raises(InvalidArgument, match=r"open\.received\[1\]"):
            SmearCount(0, received=[first, tally(1, lymphocytes(2))])

    @pytest.mark.parametrize(
        ("second", "reason"),
        [
            (FieldTally("other", 1), "SEQUENCE_REPEATED"),
            (FieldTally("field-1", 2), "SEQUENCE_CHANGED"),
            (FieldTally("field-1", 1, image_sha256="bb"), "IMAGE_CHANGED"),
        ],
    )
    def test_tallies_that_contradict_each_other_are_refused(self, second, reason):
        with pytest.raises(InvalidArgument, match=r"open\.received\[1\]") as caught:
            SmearCount(0, received=[tally(1, image_sha256="aa"), second])
        assert caught.value.reason == reason


class TestAnnouncing:
    def test_a_repeat_of_a_field_in_work_is_harmless(self):
        smear = SmearCount(0)
        assert smear.announce("a", 5, image_sha256="aa") is True
        assert smear.announce("a", 5, image_sha256="aa") is False
        assert smear.announce("a", 5) is False

    @pytest.mark.parametrize(
        ("field_id", "sequence", "digest", "reason"),
        [
            ("b", 5, "", "SEQUENCE_REPEATED"),
            ("a", 6, "", "SEQUENCE_CHANGED"),
            ("a", 5, "bb", "IMAGE_CHANGED"),
            ("b", 4, "", "SEQUENCE_OUT_OF_ORDER"),
        ],
    )
    def test_what_contradicts_an_earlier_field_is_refused_and_changes_nothing(
        self, field_id, sequence, digest, reason
    ):
        smear = SmearCount(0)
        smear.announce("a", 5, image_sha256="aa")
        with pytest.raises(InvalidArgument) as caught:
            smear.announce(field_id, sequence, image_sha256=digest)
        assert caught.value.reason == reason
        assert smear.announce("c", 6)

    def test_mistakes_of_the_service_itself_are_not_hidden(self):
        smear = SmearCount(0)
        smear.announce("a", 1)
        with pytest.raises(ValueError, match="not announced"):
            smear.complete(FieldTally("b", 1))
        with pytest.raises(ValueError, match="not finished"):
            smear.result()
        smear.complete(FieldTally("a", 1))
        with pytest.raises(ValueError, match="twice"):
            smear.complete(FieldTally("a", 1))
        smear.end_of_fields()
        with pytest.raises(ValueError, match="after the end"):
            smear.announce("b", 2)


class TestOverlaps:
    HERE = TalliedCell(CellType.LYMPHOCYTE, True, position=SlidePosition(100, 100), diameter_um=12)

    def test_a_cell_that_two_fields_show_counts_once_in_the_first(self):
        first_unsure = replace(self.HERE, identified=False)
        smear = SmearCount(0)
        smear.announce("field-1", 1)
        smear.announce("field-2", 2)
        smear.complete(tally(2, (self.HERE, *lymphocytes(1))))
        assert smear.counted_elsewhere("field-2") is None
        smear.complete(tally(1, (first_unsure,)))
        smear.end_of_fields()
        assert smear.counted_elsewhere("field-1") == (False,)
        assert smear.counted_elsewhere("field-2") == (True, False)
        outcome = smear.result()
        assert outcome.counted_elsewhere == 1
        assert (outcome.differential.identified_leukocytes, outcome.differential.unidentified) == (1, 1)

    def test_cells_of_one_field_are_never_the_same(self):
        outcome = counted([tally(1, (self.HERE, self.HERE))], 0)
        assert (outcome.counted_elsewhere, outcome.differential.identified_leukocytes) == (0, 2)

    def test_a_cell_counted_elsewhere_does_not_count_towards_the_target(self):
        outcome = counted([tally(1, (self.HERE,)), tally(2, (self.HERE,)), tally(3, lymphocytes(1))], 2)
        assert outcome.last_sequence == 3

    def test_a_failed_field_shows_nothing(self):
        outcome = counted([tally(1, (self.HERE,), failed=True), tally(2, (self.HERE,))], 0)
        assert outcome.counted_elsewhere == 0
        assert outcome.failed_field_ids == ("field-1",)
        assert outcome.fields_counted == 1


class TestReview:
    def test_failed_and_degraded_fields_beyond_the_end_are_no_matter(self):
        fields = [tally(1, lymphocytes(2)), tally(2, failed=True), tally(3, lymphocytes(1), degraded=True)]
        assert counted(fields, 2).differential.review_reasons == ()
        assert counted(fields, 3).differential.review_reasons == (
            ReviewReason.DEGRADED,
            ReviewReason.FAILED_FIELDS,
        )

    def test_the_limit_for_unidentified_cells_is_the_openers(self):
        fields = [tally(1, (*lymphocytes(9), TalliedCell(None, False)))]
        strict, lenient = SmearCount(0), SmearCount(0, unidentified_limit=0.1)
        for smear in (strict, lenient):
            stream(smear, fields, Random(0))
        assert strict.result().differential.review_reasons == (ReviewReason.UNIDENTIFIED_ABOVE_LIMIT,)
        assert lenient.result().differential.review_reasons == ()
