"""AnalyzeSmear over real gRPC, between a detector and a classifier that do as told."""

import asyncio

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hemaserve.errors import InvalidArgument, ResourceExhausted, Unavailable
from hemaserve.v1 import cells_pb2, gateway_pb2

SEGMENTED = cells_pb2.CELL_TYPE_NEUTROPHIL_SEGMENTED
LYMPHOCYTE = cells_pb2.CELL_TYPE_LYMPHOCYTE
MONOCYTE = cells_pb2.CELL_TYPE_MONOCYTE
UNNAMED = 0


def wrapped(field) -> gateway_pb2.AnalyzeSmearRequest:
    return gateway_pb2.AnalyzeSmearRequest(field=field)


async def _read_all(call) -> None:
    while await call.read() is not grpc.aio.EOF:
        pass


async def refused(call) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _read_all(call)
    return caught.value.code(), caught.value.details()


async def test_results_come_as_fields_finish_and_are_counted_in_sequence(world, wait_until):
    gate = world.detector.hold("slow")
    fields = [
        world.field("slow", [SEGMENTED] * 60, sequence=1),
        world.field("quick", [LYMPHOCYTE] * 60, sequence=2),
        world.field("late", [MONOCYTE] * 60, sequence=3),
    ]
    call = world.stub.AnalyzeSmear()
    await call.write(world.opening(target=100))
    for field in fields:
        await call.write(wrapped(field))
    early = {(await call.read()).field_result.field_id for _ in range(2)}
    assert early == {"quick", "late"}
    gate.set()
    assert (await call.read()).field_result.field_id == "slow"
    result = (await call.read()).smear_result
    assert (result.end, result.last_sequence) == (gateway_pb2.SMEAR_END_TARGET_REACHED, 2)
    counts = {share.type: share.count for share in result.differential.leukocytes if share.count}
    assert counts == {cells_pb2.CELL_TYPE_NEUTROPHIL: 60, LYMPHOCYTE: 60}
    assert await call.read() is grpc.aio.EOF


async def test_at_the_target_outstanding_work_is_cancelled_and_the_stream_ends(world, wait_until):
    first = world.detector.hold("first")
    world.detector.hold("in detector")
    world.classifier.hold("in classifier")
    call = world.stub.AnalyzeSmear()
    await call.write(world.opening(target=100))
    await call.write(wrapped(world.field("first", [SEGMENTED] * 120, sequence=1)))
    await call.write(wrapped(world.field("in detector", [LYMPHOCYTE], sequence=8)))
    await call.write(wrapped(world.field("in classifier", [LYMPHOCYTE], sequence=9)))
    await wait_until(
        lambda: bool(world.detector.seen("in detector") and world.classifier.seen("in classifier"))
    )
    first.set()
    # The caller has not said that its fields have ended, and does not need to.
    responses = [response async for response in call]
    assert [response.WhichOneof("message") for response in responses] == ["field_result", "smear_result"]
    assert responses[-1].smear_result.end == gateway_pb2.SMEAR_END_TARGET_REACHED
    assert responses[-1].smear_result.differential.identified_leukocytes == 120
    assert await call.code() is grpc.StatusCode.OK
    await wait_until(lambda: not world.detector.at_work and not world.classifier.at_work)
    assert world.detector.seen("in detector")[0].ended == "stopped"
    assert world.classifier.seen("in classifier")[0].ended == "stopped"


async def test_too_few_leukocytes_are_said_plainly(world):
    results, smear = await world.smear([world.field("f", [SEGMENTED, UNNAMED], sequence=1)], target=100)
    assert len(results) == 1
    assert smear.end == gateway_pb2.SMEAR_END_TOO_FEW
    assert gateway_pb2.REVIEW_REASON_TOO_FEW_LEUKOCYTES in smear.differential.review_reasons
    assert smear.differential.identified_leukocytes == 1


async def test_without_a_target_all_fields_are_counted(world):
    fields = [world.field(f"f{number}", [SEGMENTED] * 90, sequence=number) for number in range(5)]
    results, smear = await world.smear(fields, specimen="S-1", smear_id="night")
    assert len(results) == 5
    assert (smear.end, smear.fields_counted) == (gateway_pb2.SMEAR_END_ALL_COUNTED, 5)
    assert (smear.smear_id, smear.specimen, smear.target) == ("night", "S-1", 0)
    assert smear.provenance.classifier.sha256 == "c" * 64
    assert not smear.differential.review_reasons


async def test_a_smear_without_fields_is_a_result(world):
    results, smear = await world.smear([])
    assert not results
    assert (smear.end, smear.fields_counted) == (gateway_pb2.SMEAR_END_ALL_COUNTED, 0)
    assert smear.differential.identified_leukocytes == 0


async def test_bad_fields_are_answered_each_on_its_own_and_the_smear_goes_on(world):
    world.detector.errors["poison"] = InvalidArgument("image", "damaged", "whole", reason="IMAGE_DAMAGED")
    odd = world.field("nan", [SEGMENTED], sequence=3, um_per_px=float("nan"))
    fields = [
        gateway_pb2.Field(field_id="text", sequence=1, image=b"not an image"),
        gateway_pb2.Field(field_id="empty", sequence=2),
        odd,
        world.field("poison", [SEGMENTED], sequence=4),
        world.field("crop", [SEGMENTED, 255], sequence=5),
        world.field("good", [SEGMENTED], sequence=6),
    ]
    results, smear = await world.smear(fields)
    by_id = {result.field_id: result for result in results}
    assert len(by_id) == 6
    invalid, internal = grpc.StatusCode.INVALID_ARGUMENT.value[0], grpc.StatusCode.INTERNAL.value[0]
    codes = {name: result.error.code for name, result in by_id.items()}
    assert codes == {
        "text": invalid,
        "empty": invalid,
        "nan": invalid,
        "poison": invalid,
        "crop": internal,
        "good": 0,
    }
    assert by_id["nan"].error.message.startswith("field.acquisition.um_per_px: nan")
    assert by_id["poison"].error.message.startswith("field.image: damaged")
    assert all(result.tally.failed == (name != "good") for name, result in by_id.items())
    assert all(not result.cells for name, result in by_id.items() if name != "good")
    assert by_id["text"].tally.image_sha256
    assert list(smear.failed_field_ids) == ["text", "empty", "nan", "poison", "crop"]
    assert smear.fields_counted == 1
    assert list(smear.differential.review_reasons) == [gateway_pb2.REVIEW_REASON_FAILED_FIELDS]
    assert len({result.result_id for result in results}) == 6


async def test_a_field_that_takes_too_long_fails_alone(make_world):
    world = await make_world(field_timeout_s=0.3)
    world.detector.hold("stuck")
    fields = [world.field("stuck", [SEGMENTED], sequence=1), world.field("good", [SEGMENTED], sequence=2)]
    results, smear = await world.smear(fields)
    codes = {result.field_id: result.error.code for result in results}
    assert codes == {"stuck": grpc.StatusCode.DEADLINE_EXCEEDED.value[0], "good": 0}
    assert list(smear.failed_field_ids) == ["stuck"]


async def test_what_every_field_needs_being_away_ends_the_stream_and_fails_no_field(world):
    world.detector.errors["second"] = Unavailable("gone")
    call = world.stub.AnalyzeSmear()
    await call.write(world.opening())
    await call.write(wrapped(world.field("first", [SEGMENTED], sequence=1)))
    first = (await call.read()).field_result
    await call.write(wrapped(world.field("second", [SEGMENTED], sequence=2)))
    code, _ = await refused(call)
    assert code is grpc.StatusCode.UNAVAILABLE

    world.detector.errors.clear()
    results, smear = await world.smear(
        [world.field("second", [SEGMENTED], sequence=2)], received=[first.tally]
    )
    assert [result.field_id for result in results] == ["second"]
    assert (smear.fields_counted, len(smear.failed_field_ids)) == (2, 0)


async def test_a_field_waits_for_room_behind_the_gateway_as_it_is_told(world, wait_until):
    world.detector.errors["f"] = ResourceExhausted("full", retry_after_s=0.05)
    smear = asyncio.create_task(world.smear([world.field("f", [SEGMENTED], sequence=1)]))
    await wait_until(lambda: len(world.detector.seen("f")) >= 3)
    world.detector.errors.clear()
    results, result = await smear
    assert [len(field.cells) for field in results] == [1]
    assert result.fields_counted == 1


async def test_a_field_does_not_wait_for_room_beyond_its_time(make_world):
    world = await make_world(field_timeout_s=5.0)
    world.detector.errors["f"] = ResourceExhausted("full", retry_after_s=60)
    messages = [world.opening(), wrapped(world.field("f", [SEGMENTED], sequence=1))]
    code, _ = await refused(world.stub.AnalyzeSmear(iter(messages)))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert len(world.detector.seen("f")) == 1


async def test_fields_after_the_target_of_a_resumed_smear_are_not_analysed(world, wait_until):
    tally = gateway_pb2.FieldTally(
        field_id="done", sequence=5, cells=[gateway_pb2.TalliedCell(identified=True, type=SEGMENTED)] * 100
    )
    call = world.stub.AnalyzeSmear()
    await call.write(world.opening(target=100, received=[tally]))
    # Nothing below 6 can come any more, so the target is reached by what was handed back.
    await call.write(wrapped(world.field("after", [LYMPHOCYTE], sequence=6)))
    assert (await call.read()).smear_result.end == gateway_pb2.SMEAR_END_TARGET_REACHED
    assert await call.read() is grpc.aio.EOF
    assert not world.detector.calls


async def test_no_more_fields_are_held_than_the_bound_allows(make_world, wait_until):
    world = await make_world(fields_in_flight=3)
    gates = {f"f{number}": world.detector.hold(f"f{number}") for number in range(12)}
    padding = bytes(2 * 2**20)
    call = world.stub.AnalyzeSmear()
    written = 0

    async def write() -> None:
        nonlocal written
        await call.write(world.opening())
        for number, name in enumerate(gates):
            field = world.field(name, [SEGMENTED], sequence=number)
            field.image += b" " * len(padding)
            await call.write(wrapped(field))
            written += 1
        await call.done_writing()

    writing = asyncio.create_task(write())
    await wait_until(lambda: len(world.detector.at_work) == 3)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await wait_until(lambda: len(world.detector.calls) > 3)
    # What lies between caller and gateway is what HTTP/2 lets lie there, not the whole smear.
    assert written < 12
    # Each result makes room for one field more, and not for two.
    for number, gate in enumerate(gates.values()):
        gate.set()
        assert (await call.read()).field_result.field_id == f"f{number}"
        await wait_until(lambda begun=min(number + 4, 12): len(world.detector.calls) == begun)
        assert len(world.detector.at_work) <= 3
    await writing
    assert (await call.read()).smear_result.fields_counted == 12
    assert world.detector.most_at_once == 3


async def test_one_field_is_classified_while_the_next_is_detected(world, wait_until):
    naming, finding = world.classifier.hold("f0"), world.detector.hold("f1")
    call = world.stub.AnalyzeSmear()
    await call.write(world.opening())
    for number in range(2):
        await call.write(wrapped(world.field(f"f{number}", [SEGMENTED], sequence=number)))
    await wait_until(lambda: "f0" in world.classifier.at_work and "f1" in world.detector.at_work)
    assert "f0" not in world.detector.at_work
    naming.set()
    finding.set()
    await call.done_writing()
    assert len([response async for response in call]) == 3


async def test_a_caller_that_goes_away_cancels_everything(world, wait_until):
    world.detector.hold("finding")
    world.classifier.hold("naming")
    call = world.stub.AnalyzeSmear()
    await call.write(world.opening())
    await call.write(wrapped(world.field("finding", [SEGMENTED], sequence=1)))
    await call.write(wrapped(world.field("naming", [SEGMENTED], sequence=2)))
    await wait_until(lambda: bool(world.detector.seen("finding")) and bool(world.classifier.seen("naming")))
    call.cancel()
    await wait_until(lambda: not world.detector.at_work and not world.classifier.at_work)
    assert world.detector.seen("finding")[0].ended == "stopped"
    assert world.classifier.seen("naming")[0].ended == "stopped"


async def test_a_caller_that_reads_nothing_is_not_read_and_holds_nothing_when_it_goes(world, wait_until):
    options = gateway_pb2.AnalyzeOptions(crop_encoding=cells_pb2.CROP_ENCODING_RAW_RGB8)
    world.detector.hold("held")
    call = world.stub.AnalyzeSmear()
    await call.write(world.opening(options=options))
    await call.write(wrapped(world.field("held", [SEGMENTED], sequence=0)))

    async def write() -> None:
        # Each result is some 4 MB, more than HTTP/2 lets lie unread.
        for number in range(1, 20):
            await call.write(
                wrapped(world.field(f"f{number}", [SEGMENTED] * 4000, sequence=number, chunk=500))
            )

    writing = asyncio.create_task(write())
    await wait_until(lambda: sum(seen.ended == "done" for seen in world.detector.calls) == 3)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await wait_until(lambda: len(world.detector.calls) > 6)
    call.cancel()
    writing.cancel()
    await wait_until(lambda: not world.detector.at_work and not world.classifier.at_work)
    assert world.detector.seen("held")[0].ended == "stopped"


async def test_the_callers_deadline_and_priority_reach_every_field(world):
    call = world.stub.AnalyzeSmear(timeout=7.0)
    await call.write(world.opening(priority=gateway_pb2.PRIORITY_STAT))
    await call.write(wrapped(world.field("f", [SEGMENTED], sequence=1)))
    await call.done_writing()
    assert len([response async for response in call]) == 2
    for fake in (world.detector, world.classifier):
        assert 0 < fake.seen("f")[0].time_left_s <= 7.1
        assert fake.seen("f")[0].metadata["x-hemaserve-priority"] == "stat"


async def test_a_field_sent_twice_is_analysed_once(world):
    field = world.field("f", [SEGMENTED], sequence=1)
    results, smear = await world.smear([field, field, world.field("g", [SEGMENTED], sequence=2), field])
    assert sorted(result.field_id for result in results) == ["f", "g"]
    assert smear.differential.identified_leukocytes == 2
    assert len(world.detector.seen("f")) == 1


@pytest.mark.parametrize(
    ("sequences", "path"),
    [
        ([("a", 5), ("b", 4)], "field.sequence"),
        ([("a", 5), ("b", 5)], "field.sequence"),
        ([("a", 5), ("a", 6)], "field.sequence"),
        ([("", 1)], "field.field_id"),
        ([("x" * 129, 1)], "field.field_id"),
    ],
)
async def test_fields_that_contradict_the_stream_end_it(world, sequences, path):
    fields = [wrapped(world.field(name, [SEGMENTED], sequence=sequence)) for name, sequence in sequences]
    code, message = await refused(world.stub.AnalyzeSmear(iter([world.opening(), *fields])))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert message.startswith(path)


async def test_the_same_field_id_with_another_image_is_refused(world):
    fields = [wrapped(world.field("a", cells, sequence=1)) for cells in ([SEGMENTED], [LYMPHOCYTE])]
    code, message = await refused(world.stub.AnalyzeSmear(iter([world.opening(), *fields])))
    assert (code, message[:12]) == (grpc.StatusCode.INVALID_ARGUMENT, "field.image:")


async def test_a_stream_begins_with_its_opening_and_has_only_one(world):
    field = wrapped(world.field("f", [SEGMENTED], sequence=1))
    for messages in (
        [field],
        [world.opening(), field, world.opening()],
        [],
        [gateway_pb2.AnalyzeSmearRequest()],
    ):
        code, _ = await refused(world.stub.AnalyzeSmear(iter(messages)))
        assert code is grpc.StatusCode.FAILED_PRECONDITION
    code, message = await refused(
        world.stub.AnalyzeSmear(iter([world.opening(), gateway_pb2.AnalyzeSmearRequest()]))
    )
    assert (code, message[:8]) == (grpc.StatusCode.INVALID_ARGUMENT, "message:")


async def test_cells_that_overlapping_fields_show_are_counted_once(world):
    scale = {"um_per_px": 0.1}
    # The cell at x=300 px, 30 px wide, is 3 um wide; the second field starts 25 um to the right.
    cells = [world.cell(SEGMENTED, box=(300, 100, 30)), world.cell(LYMPHOCYTE, box=(10, 10, 30))]
    again = [world.cell(SEGMENTED, box=(52, 101, 30)), world.cell(MONOCYTE, box=(200, 10, 30))]
    at = [gateway_pb2.StagePosition(x_um=1000 + 25 * number, y_um=50) for number in range(2)]
    first = world.field("a", cells, sequence=1, stage_position=at[0], **scale)
    second = world.field("b", again, sequence=2, stage_position=at[1], **scale)
    gate = world.detector.hold("b")
    call = world.stub.AnalyzeSmear()
    await call.write(world.opening())
    await call.write(wrapped(first))
    await call.write(wrapped(second))
    assert (await call.read()).field_result.field_id == "a"
    gate.set()
    result = (await call.read()).field_result
    assert [cell.counted_elsewhere for cell in result.cells] == [True, False]
    tallied = result.tally.cells[0]
    assert tallied.position.x_um == pytest.approx(1000 + 25 + 6.7)
    assert tallied.diameter_um == pytest.approx(3.0)
    await call.done_writing()
    smear = (await call.read()).smear_result
    assert (smear.counted_elsewhere, smear.differential.identified_leukocytes) == (1, 3)


async def test_degraded_answers_are_declared_for_the_smear(world):
    world.classifier.degraded.add("f")
    _, smear = await world.smear([world.field("f", [SEGMENTED], sequence=1)])
    assert list(smear.differential.review_reasons) == [gateway_pb2.REVIEW_REASON_DEGRADED]


@st.composite
def scripts(draw) -> list[list[int] | None]:
    """What the fields of a smear hold, in sequence; None for a field that cannot be read."""
    types = st.sampled_from([SEGMENTED, LYMPHOCYTE, MONOCYTE, cells_pb2.CELL_TYPE_ERYTHROBLAST, UNNAMED])
    cells = st.tuples(types, types, st.integers(0, 40)).map(
        lambda parts: [*parts[:2], *[parts[0]] * parts[2]]
    )
    return draw(st.lists(st.none() | cells, min_size=1, max_size=9))


async def broken_smear(world, fields, breaks, **opening) -> gateway_pb2.SmearResult:
    """The result of a smear whose stream breaks after so many results each time, resumed by the contract's rules."""
    received: dict[str, gateway_pb2.FieldTally] = {}
    for results_until_break in [*breaks, None]:
        missing = [wrapped(field) for field in fields if field.field_id not in received]
        start = world.opening(received=reversed(received.values()), **opening)
        call = world.stub.AnalyzeSmear(iter([start, *missing]))
        seen = 0
        while seen != results_until_break:
            response = await call.read()
            if response.WhichOneof("message") == "smear_result":
                return response.smear_result
            received[response.field_result.field_id] = response.field_result.tally
            seen += 1
        call.cancel()
    raise AssertionError("the smear never ended")


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    contents=scripts(),
    breaks=st.lists(st.integers(0, 5), max_size=4),
    gap=st.integers(1, 3),
    target=st.sampled_from([0, 100, 200]),
    step_um=st.none() | st.sampled_from([0.0, 19.9, 50.0]),
)
async def test_a_stream_that_broke_anywhere_and_was_resumed_gives_the_identical_result(
    world, contents, breaks, gap, target, step_um
):
    world.detector.jitter_s = 0.004

    def acquisition(number: int) -> dict:
        if step_um is None:
            return {}
        at = gateway_pb2.StagePosition(x_um=3.3 + number * step_um, y_um=-1.7)
        return {"um_per_px": 0.07, "stage_position": at}

    fields = [
        gateway_pb2.Field(field_id=f"f{number}", sequence=number * gap, image=b"unreadable")
        if cells is None
        else world.field(f"f{number}", cells, sequence=number * gap, **acquisition(number))
        for number, cells in enumerate(contents)
    ]
    _, whole = await world.smear(fields, target=target)
    resumed = await broken_smear(world, fields, breaks, target=target)
    # Provenance is that of the fields that were analysed on the stream; all else is identical.
    for result in (whole, resumed):
        result.ClearField("provenance")
    assert resumed == whole
