"""ClassifierService over gRPC, on a Triton that answers from arithmetic."""

import asyncio
import io
from importlib.metadata import version

import grpc
import numpy as np
import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from hemaserve.cells import LEAF_TYPES
from hemaserve.errors import Internal
from hemaserve.v1 import cells_pb2, classifier_pb2, classifier_pb2_grpc
from services.classifier.application import ClassifierApplication
from services.classifier.settings import ClassifierSettings
from services.runtime.remote import open_channel
from services.runtime.server import running

SETTINGS = ClassifierSettings(
    listen="127.0.0.1:0", metrics_listen="127.0.0.1:0", health_interval_s=0.05, requests_in_flight=3
)


class ClosableTriton:
    """The fixture's Triton, with the `close` that an application calls at its end."""

    def __init__(self, triton):
        self.triton = triton

    def __getattr__(self, name):
        return getattr(self.triton, name)

    async def close(self):
        pass


@pytest.fixture
async def server(triton):
    application = ClassifierApplication(SETTINGS, ClosableTriton(triton))
    async with (
        running(application, SETTINGS, name="classifier") as server,
        open_channel(server.address) as channel,
    ):
        yield channel


@pytest.fixture
def classifier(server):
    return classifier_pb2_grpc.ClassifierServiceStub(server)


def cell(pixels, cell_id="c", **changes):
    crop = cells_pb2.Crop(cell_id=cell_id, size_px=len(pixels), data=pixels.tobytes())
    return classifier_pb2.CellToClassify(crop=crop, **changes)


def png_cell(pixels, cell_id="c"):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    crop = cells_pb2.Crop(cell_id=cell_id, encoding=cells_pb2.CROP_ENCODING_PNG, data=buffer.getvalue())
    return classifier_pb2.CellToClassify(crop=crop)


def request(*cells, model=""):
    return classifier_pb2.ClassifyRequest(model=model, cells=cells)


async def ask(classifier, *requests, **options):
    return [response async for response in classifier.Classify(iter(requests), **options)]


def probabilities(message):
    assert [each.type for each in message] == [
        cells_pb2.CellType.Value(f"CELL_TYPE_{leaf.name}") for leaf in LEAF_TYPES
    ]
    return [each.probability for each in message]


async def test_a_cell_comes_back_with_its_ids_its_box_and_the_vote(classifier, triton, tagged_crops):
    crops = tagged_crops([7])
    box = cells_pb2.Box(x0_px=1, y0_px=2, x1_px=30, y1_px=40)
    (response,) = await ask(classifier, request(cell(crops[0], "cell-1", field_id="field-1", box=box)))
    (answer,) = response.cells
    assert (answer.field_id, answer.cell_id, answer.box) == ("field-1", "cell-1", box)
    np.testing.assert_allclose(
        probabilities(answer.classification.leaf_probabilities), triton.voted(crops)[0], rtol=1e-5
    )
    assert [member.model for member in answer.classification.members] == ["xception", "vit"]
    for member in answer.classification.members:
        expected = triton.opinion(member.model, crops)[0]
        np.testing.assert_allclose(probabilities(member.leaf_probabilities), expected, rtol=1e-6)
    assert not answer.classification.degraded


async def test_what_was_not_sent_is_not_made_up(classifier, tagged_crops):
    (response,) = await ask(classifier, request(cell(tagged_crops([7])[0])))
    assert not response.cells[0].HasField("box")
    assert response.cells[0].field_id == ""


async def test_provenance_names_network_members_and_thresholds(classifier, tagged_crops):
    (response,) = await ask(classifier, request(cell(tagged_crops([7])[0])))
    provenance = response.provenance
    assert provenance.classifier == cells_pb2.ModelProvenance(
        name="ensemble", version="1", sha256=f"{8:064x}"
    )
    assert [(member.name, member.sha256) for member in provenance.members] == [
        ("xception", f"{8:064x}"),
        ("vit", f"{3:064x}"),
    ]
    assert provenance.preprocessing_version == "1"
    assert provenance.identify_threshold == pytest.approx(0.6)
    assert provenance.software_version == version("hemaserve")
    assert not provenance.HasField("detector")


async def test_a_degraded_answer_declares_itself_and_never_passes_for_the_ensemble(
    classifier, triton, tagged_crops
):
    triton.failing |= dict.fromkeys(["ensemble", "vit"], Internal("broken"))
    (response,) = await ask(classifier, request(cell(tagged_crops([7])[0])))
    (answer,) = response.cells
    assert answer.classification.degraded
    assert [member.model for member in answer.classification.members] == ["xception"]
    assert response.provenance.classifier == cells_pb2.ModelProvenance(name="ensemble")
    assert [member.name for member in response.provenance.members] == ["xception"]
    assert response.provenance.identify_threshold == pytest.approx(0.7)


@given(split=st.lists(st.lists(st.integers(0, 2**24 - 1), max_size=20), max_size=8))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_rows_come_back_to_their_cells_for_any_split_into_requests(
    classifier, triton, tagged_crops, split
):
    requests = [
        request(*(cell(pixels, str(tag)) for tag, pixels in zip(tags, tagged_crops(tags), strict=True)))
        for tags in split
    ]
    responses = await ask(classifier, *requests)
    assert [[answer.cell_id for answer in response.cells] for response in responses] == [
        [str(tag) for tag in tags] for tags in split
    ]
    for tags, response in zip(split, responses, strict=True):
        expected = triton.voted(tagged_crops(tags))
        for answer, row in zip(response.cells, expected, strict=True):
            found = probabilities(answer.classification.leaf_probabilities)
            np.testing.assert_allclose(found, row, rtol=1e-5)


@given(st.lists(st.booleans(), max_size=20))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_bad_crops_get_an_error_each_and_harm_no_other(classifier, triton, tagged_crops, good):
    tags = range(len(good))
    crops = tagged_crops(tags)
    bad = cells_pb2.Crop(cell_id="bad", size_px=96, data=b"short")
    cells = [
        cell(pixels, "good") if is_good else classifier_pb2.CellToClassify(crop=bad)
        for is_good, pixels in zip(good, crops, strict=True)
    ]
    (response,) = await ask(classifier, request(*cells))
    expected = triton.voted(crops)
    for index, (is_good, answer) in enumerate(zip(good, response.cells, strict=True)):
        if is_good:
            found = probabilities(answer.classification.leaf_probabilities)
            np.testing.assert_allclose(found, expected[index], rtol=1e-5)
        else:
            assert answer.cell_id == "bad"
            assert answer.error.code == code_pb2.INVALID_ARGUMENT
            assert answer.error.message.startswith(f"cells[{index}].crop.data: 5 bytes")


async def test_every_encoding_of_the_same_pixels_gives_the_same_answer(classifier, tagged_crops):
    pixels = tagged_crops([70_000])[0]
    (response,) = await ask(classifier, request(cell(pixels), png_cell(pixels)))
    first, second = response.cells
    assert first == second


@pytest.mark.parametrize(
    "crop",
    [
        cells_pb2.Crop(size_px=96, encoding=cells_pb2.CROP_ENCODING_NONE),
        cells_pb2.Crop(size_px=96, encoding=99, data=b"x"),
        None,
    ],
)
async def test_a_cell_without_pixels_is_its_own_error(classifier, tagged_crops, crop):
    without = classifier_pb2.CellToClassify(crop=crop)
    (response,) = await ask(classifier, request(without, cell(tagged_crops([1])[0])))
    assert response.cells[0].error.code == code_pb2.INVALID_ARGUMENT
    assert response.cells[1].HasField("classification")


async def refusal(classifier, *requests, **options):
    call = classifier.Classify(iter(requests), **options)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        async for _ in call:
            pass
    return error.value, await refused_fields(call)


async def refused_fields(call):
    """Field paths in the status details of a call that failed."""
    metadata = dict(await call.trailing_metadata())
    status = status_pb2.Status.FromString(metadata.get("grpc-status-details-bin", b""))
    violations = error_details_pb2.BadRequest()
    unpacked = [detail.Unpack(violations) for detail in status.details]
    return [violation.field for violation in violations.field_violations] if any(unpacked) else []


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (request(*[classifier_pb2.CellToClassify()] * 257), "cells"),
        (
            request(classifier_pb2.CellToClassify(), classifier_pb2.CellToClassify(field_id="x" * 129)),
            "cells[1].field_id",
        ),
        (
            request(classifier_pb2.CellToClassify(crop=cells_pb2.Crop(cell_id="x" * 129))),
            "cells[0].crop.cell_id",
        ),
        (request(model="x" * 129), "model"),
    ],
)
async def test_what_is_beyond_the_bounds_is_refused_by_the_name_of_its_field(classifier, bad, field):
    error, fields = await refusal(classifier, bad)
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert fields == [field]


async def test_the_bounds_themselves_are_allowed(classifier):
    longest = classifier_pb2.CellToClassify(field_id="x" * 128, crop=cells_pb2.Crop(cell_id="y" * 128))
    (response,) = await ask(classifier, request(*[longest] * 256))
    assert len(response.cells) == 256


async def test_an_unknown_model_is_not_found_after_the_answers_before_it(classifier, tagged_crops):
    known = request(cell(tagged_crops([1])[0]))
    call = classifier.Classify(iter([known, request(model="resnet"), known]))
    assert len((await call.read()).cells) == 1
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call.read()
    assert error.value.code() == grpc.StatusCode.NOT_FOUND
    assert error.value.details().endswith("available: ensemble, vit, xception")


async def test_the_model_may_differ_from_request_to_request(classifier, triton, tagged_crops):
    crops = tagged_crops([7])
    models = ["vit", "", "xception"]
    responses = await ask(classifier, *(request(cell(crops[0]), model=model) for model in models))
    assert [response.provenance.classifier.name for response in responses] == ["vit", "ensemble", "xception"]
    single = responses[0].cells[0].classification
    assert not single.members
    np.testing.assert_allclose(
        probabilities(single.leaf_probabilities), triton.opinion("vit", crops)[0], rtol=1e-6
    )


async def test_several_requests_of_a_stream_are_under_way_together_and_no_more_than_allowed(
    classifier, triton, tagged_crops
):
    triton.late.add("vit")
    tenfold = [request(cell(tagged_crops([1])[0]), model="vit")] * 10
    call = classifier.Classify(iter(tenfold))
    await until(lambda: len(triton.batches) == SETTINGS.requests_in_flight)
    # What is under way never ends, so one more would show by the time that another stream is answered.
    await ask(classifier, request(cell(tagged_crops([1])[0]), model="xception"))
    assert [model for model, _ in triton.batches] == ["vit"] * SETTINGS.requests_in_flight + ["xception"]
    call.cancel()
    await until(lambda: triton.cancelled == ["vit"] * SETTINGS.requests_in_flight)


async def test_a_caller_that_goes_away_cancels_its_inferences(classifier, triton, tagged_crops):
    triton.late.add("vit")
    call = classifier.Classify(iter([request(cell(tagged_crops([1])[0]), model="vit")]))
    await until(lambda: triton.batches)
    call.cancel()
    await until(lambda: triton.cancelled == ["vit"])


async def test_the_callers_deadline_reaches_triton(classifier, triton, tagged_crops):
    timeouts = []
    real_infer = triton.infer

    async def infer(*args, timeout_s, **more):
        timeouts.append(timeout_s)
        return await real_infer(*args, timeout_s=timeout_s, **more)

    triton.infer = infer
    one = request(cell(tagged_crops([1])[0]), model="vit")
    await ask(classifier, one, timeout=20)
    await ask(classifier, one, timeout=5_000)
    await ask(classifier, one)
    # On the wire gRPC rounds a deadline up, here to tenths of a second.
    assert 10 < timeouts[0] <= 20.1
    assert SETTINGS.request_timeout_s - 10 < timeouts[1] <= SETTINGS.request_timeout_s
    assert SETTINGS.request_timeout_s - 10 < timeouts[2] <= SETTINGS.request_timeout_s


async def test_a_deadline_that_passes_ends_the_call_and_its_inferences(classifier, triton, tagged_crops):
    triton.late.add("vit")
    error, _ = await refusal(classifier, request(cell(tagged_crops([1])[0]), model="vit"), timeout=0.3)
    assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    await until(lambda: triton.cancelled == ["vit"])


async def test_models_are_listed_with_what_they_answer(classifier):
    response = await classifier.ListClassifiers(classifier_pb2.ListClassifiersRequest())
    assert [(model.name, model.ready, model.is_default) for model in response.models] == [
        ("ensemble", True, True),
        ("vit", True, False),
        ("xception", True, False),
    ]
    ensemble = response.models[0]
    assert ensemble.task == cells_pb2.MODEL_TASK_CLASSIFICATION
    assert list(ensemble.members) == ["xception", "vit"]
    assert ensemble.input_size_px == 96
    assert ensemble.crop_margin == pytest.approx(0.15)
    assert ensemble.licence == "Apache-2.0"
    assert len(ensemble.leaf_types) == len(LEAF_TYPES)


async def test_health_follows_the_default_model(server, triton):
    health = health_pb2_grpc.HealthStub(server)
    question = health_pb2.HealthCheckRequest(service="hemaserve.v1.ClassifierService")
    watch = health.Watch(question)

    async def becomes(status):
        while (await watch.read()).status != status:
            pass

    await becomes(health_pb2.HealthCheckResponse.SERVING)
    triton.reachable = False
    await becomes(health_pb2.HealthCheckResponse.NOT_SERVING)
    triton.reachable = True
    await becomes(health_pb2.HealthCheckResponse.SERVING)
    watch.cancel()


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the fake signals nothing
            await asyncio.sleep(0.005)


async def test_a_shadow_is_compared_after_the_answer_and_changes_nothing_of_it(server, triton, tagged_crops):
    classifier = classifier_pb2_grpc.ClassifierServiceStub(server)
    plain = request(cell(tagged_crops([7])[0]), model="xception")
    shadowed = classifier_pb2.ClassifyRequest(model="xception", cells=plain.cells, shadow_model="vit")
    assert await ask(classifier, plain) == await ask(classifier, shadowed)
    async with asyncio.timeout(20):
        while ("vit", 1) not in triton.batches:  # noqa: ASYNC110 - it is Triton that is asked
            await asyncio.sleep(0.005)


async def test_what_is_not_loaded_is_listed_by_its_name_but_for_steps_of_ensembles(classifier, triton):
    triton.asleep |= {name: triton.describe(name) for name in ("resnet50", "comparative_vote")}
    response = await classifier.ListClassifiers(classifier_pb2.ListClassifiersRequest())
    assert [model.name for model in response.models if model.on_request] == ["resnet50"]
