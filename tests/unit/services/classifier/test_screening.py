"""ScreenCells and ScreenField over gRPC, on a Triton whose screening networks answer from arithmetic."""

import asyncio
import io
from dataclasses import dataclass, field

import grpc
import numpy as np
import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hemaserve.errors import NotFound, Unavailable
from hemaserve.imaging import letterbox, mask_scale_bar
from hemaserve.v1 import cells_pb2, classifier_pb2, classifier_pb2_grpc
from services.classifier.application import ClassifierApplication
from services.classifier.parameters import UnusableModelError
from services.classifier.screening import findings
from services.classifier.screening_models import ScreenTask, parse_screening_model
from services.classifier.settings import ClassifierSettings
from services.runtime.remote import open_channel
from services.runtime.server import running
from services.triton.descriptions import ModelDescription, TensorDescription

SETTINGS = ClassifierSettings(
    listen="127.0.0.1:0", metrics_listen="127.0.0.1:0", health_interval_s=0.05, requests_in_flight=3
)
FIELD_PX = 64
CELL_PX = 96
CLASSES = {"leukemia_field": "benign,early,pre,pro", "leukemia_cell": "benign,blast-like"}
FLAGS = {"leukemia_field": "early,pre,pro", "leukemia_cell": "blast-like"}


def describe(name="leukemia_field", *, dims=None, outputs=None, input_name=None, **changes):
    """A screening network as Triton describes it; a parameter given as None is left out."""
    is_field = name == "leukemia_field"
    size = FIELD_PX if is_field else CELL_PX
    parameters = {
        "task": "screen_field" if is_field else "screen_cell",
        "title": f"The {name}",
        "licence": "Apache-2.0",
        "sha256": "ab" * 32,
        "preprocessing_version": "1",
        "classes": CLASSES[name],
        "flag_classes": FLAGS[name],
        "flag_threshold": "0.25",
        "crop_margin": None if is_field else "0.15",
    } | changes
    return ModelDescription(
        name=name,
        version="3",
        versions=("3",),
        platform="",
        backend="onnxruntime",
        max_batch_size=4,
        inputs=(
            TensorDescription(
                input_name or ("fields" if is_field else "crops"), "UINT8", dims or (size, size, 3)
            ),
        ),
        outputs=(TensorDescription("probabilities", "FP32", outputs or (len(CLASSES[name].split(",")),)),),
        parameters={key: value for key, value in parameters.items() if value is not None},
    )


def said(images, classes):
    """The first class gets the share of 255 that the middle pixel's red has; the others share the rest."""
    middle = images.shape[1] // 2
    first = images[:, middle, middle, 0].astype(np.float64) / 255
    others = np.repeat((1 - first)[:, None] / (classes - 1), classes - 1, axis=1)
    return np.column_stack([first, others]).astype(np.float32)


@dataclass
class ScreeningTriton:
    """Stands for `TritonClient`; has the screening networks in `descriptions` and whatever `other` has.

    Attributes:
        failing: the error that an inference ends with.
        spoilt: what a network answers with instead.
        asleep: what is in the repository and not loaded.
        seen: the images of each inference, in the order in which they came.
    """

    other: object
    descriptions: dict = field(default_factory=lambda: {name: describe(name) for name in CLASSES})
    failing: dict = field(default_factory=dict)
    spoilt: dict = field(default_factory=dict)
    asleep: dict = field(default_factory=dict)
    up: bool = True
    seen: list = field(default_factory=list)

    async def models(self):
        return sorted([*await self.other.models(), *self.descriptions])

    async def loadable(self):
        return sorted(self.asleep)

    async def load(self, model):
        if not self.up:
            raise Unavailable("the networks are not available at the moment")
        if model in self.asleep:
            self.descriptions[model] = self.asleep.pop(model)
        return model in self.descriptions or await self.other.load(model)

    async def ready(self, model):
        return (self.up and model in self.descriptions) or await self.other.ready(model)

    async def model_config(self, model):
        if model in CLASSES and not self.up:
            raise Unavailable("the networks are not available at the moment")
        if model in self.descriptions:
            return self.descriptions[model]
        return await self.other.model_config(model)

    async def infer(self, model, inputs, outputs, *, timeout_s, priority, headers):
        if model not in CLASSES:
            return await self.other.infer(model, inputs, outputs, timeout_s=timeout_s)
        ((_, images),) = inputs.items()
        assert 0 < len(images) <= 4
        self.seen.append(images)
        if model in self.failing:
            raise self.failing[model]
        await asyncio.sleep(0)
        classes = len(CLASSES[model].split(","))
        return {"probabilities": self.spoilt.get(model, said(images, classes))}

    async def close(self):
        pass


@pytest.fixture
def screening_triton(triton):
    return ScreeningTriton(triton)


@pytest.fixture
async def classifier(screening_triton):
    application = ClassifierApplication(SETTINGS, screening_triton)
    async with (
        running(application, SETTINGS, name="classifier") as server,
        open_channel(server.address) as channel,
    ):
        yield classifier_pb2_grpc.ClassifierServiceStub(channel)


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def crop(red, size=CELL_PX):
    pixels = np.full((size, size, 3), 7, np.uint8)
    pixels[..., 0] = red
    return pixels


def cells(*reds, first=0):
    return classifier_pb2.ScreenCellsRequest(
        cells=[
            classifier_pb2.CellToClassify(
                crop=cells_pb2.Crop(cell_id=f"c{first + i}", size_px=CELL_PX, data=crop(red).tobytes())
            )
            for i, red in enumerate(reds)
        ]
    )


async def screen_cells(classifier, *requests):
    return [response async for response in classifier.ScreenCells(iter(requests))]


async def refused(call):
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    status = status_pb2.Status.FromString(dict(error.value.trailing_metadata())["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    next(detail for detail in status.details if detail.Is(info.DESCRIPTOR)).Unpack(info)
    return error.value.code(), info.reason, error.value.details()


def probabilities(finding):
    return {getattr(each, "class"): each.probability for each in finding.classes}


async def test_a_field_gets_the_probability_of_the_classes_that_flag(classifier):
    field_image = np.full((FIELD_PX, FIELD_PX, 3), 51, np.uint8)
    answer = await classifier.ScreenField(classifier_pb2.ScreenFieldRequest(image=png(field_image)))
    assert answer.finding.flagged
    assert answer.finding.probability == pytest.approx(0.8)
    assert probabilities(answer.finding) == pytest.approx(
        {"benign": 0.2, "early": 0.8 / 3, "pre": 0.8 / 3, "pro": 0.8 / 3}, abs=1e-6
    )
    assert answer.model == cells_pb2.ModelProvenance(name="leukemia_field", version="3", sha256="ab" * 32)


async def test_a_field_below_the_threshold_is_not_flagged(classifier):
    field_image = np.full((FIELD_PX, FIELD_PX, 3), 204, np.uint8)
    answer = await classifier.ScreenField(classifier_pb2.ScreenFieldRequest(image=png(field_image)))
    assert not answer.finding.flagged
    assert answer.finding.probability == pytest.approx(0.2)


async def test_the_network_sees_the_field_without_its_scale_bar_in_a_square(classifier, screening_triton):
    field_image = np.random.default_rng(5).integers(0, 256, (90, 120, 3)).astype(np.uint8)
    field_image[-12:, -18:] = 0
    await classifier.ScreenField(classifier_pb2.ScreenFieldRequest(image=png(field_image)))
    (seen,) = screening_triton.seen
    np.testing.assert_array_equal(seen, letterbox(mask_scale_bar(field_image), FIELD_PX)[0][None])


@pytest.mark.parametrize(
    ("image", "reason"),
    [(b"", "IMAGE_EMPTY"), (b"no image", "IMAGE_UNREADABLE"), (png(crop(1, 8)), "IMAGE_TOO_SMALL")],
)
async def test_what_is_no_field_is_refused_with_the_field_of_the_request(classifier, image, reason):
    code, found, words = await refused(classifier.ScreenField(classifier_pb2.ScreenFieldRequest(image=image)))
    assert (code, found) == (grpc.StatusCode.INVALID_ARGUMENT, reason)
    assert words.startswith("image: ")


async def test_a_field_may_be_larger_than_a_message_of_crops(classifier):
    noise = np.random.default_rng(1).integers(0, 256, (1300, 1300, 3)).astype(np.uint8)
    image = png(noise)
    assert len(image) > 4 * 2**20
    answer = await classifier.ScreenField(classifier_pb2.ScreenFieldRequest(image=image))
    assert sum(probabilities(answer.finding).values()) == pytest.approx(1)


async def test_cells_are_answered_in_their_order_request_by_request(classifier):
    responses = await screen_cells(classifier, cells(0, 255, 51, 204, 230, 10), cells(255, first=6))
    flat = [cell for response in responses for cell in response.cells]
    assert [len(response.cells) for response in responses] == [6, 1]
    assert [cell.cell_id for cell in flat] == [f"c{i}" for i in range(7)]
    assert [cell.finding.flagged for cell in flat] == [True, False, True, False, False, True, False]
    assert [cell.finding.probability for cell in flat] == pytest.approx(
        [1, 0, 0.8, 0.2, 25 / 255, 245 / 255, 0], abs=1e-6
    )
    assert {response.model.name for response in responses} == {"leukemia_cell"}


async def test_a_crop_that_cannot_be_read_gets_an_error_and_harms_no_other(classifier):
    request = cells(0, 255, 0)
    request.cells[1].crop.data = b"short"
    (response,) = await screen_cells(classifier, request)
    outcomes = [cell.WhichOneof("outcome") for cell in response.cells]
    assert outcomes == ["finding", "error", "finding"]
    assert response.cells[1].error.code == code_pb2.INVALID_ARGUMENT
    assert response.cells[2].finding.flagged


async def test_a_request_without_a_cell_is_answered(classifier, screening_triton):
    (response,) = await screen_cells(classifier, classifier_pb2.ScreenCellsRequest())
    assert not response.cells
    assert screening_triton.seen == []


async def test_too_many_cells_or_bytes_are_refused(classifier):
    code, _, words = await refused(screen_cells(classifier, cells(*[0] * 257)))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "257 entries" in words
    request = cells(0)
    request.cells[0].crop.data = bytes(4 * 2**20)
    code, reason, _ = await refused(screen_cells(classifier, request))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_TOO_LARGE")


@pytest.mark.parametrize("name", CLASSES)
async def test_a_network_that_is_not_loaded_is_told_and_nothing_else_suffers(
    classifier, screening_triton, name, tagged_crops
):
    del screening_triton.descriptions[name]
    calls = {
        "leukemia_field": lambda: classifier.ScreenField(
            classifier_pb2.ScreenFieldRequest(image=png(crop(0)))
        ),
        "leukemia_cell": lambda: screen_cells(classifier, cells(0)),
    }
    code, reason, _ = await refused(calls.pop(name)())
    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "SCREEN_NOT_LOADED")
    (other,) = calls.values()
    await other()
    pixels = tagged_crops([7])[0]
    request = classifier_pb2.ClassifyRequest(
        cells=[classifier_pb2.CellToClassify(crop=cells_pb2.Crop(size_px=len(pixels), data=pixels.tobytes()))]
    )
    (response,) = [response async for response in classifier.Classify(iter([request]))]
    assert response.cells[0].WhichOneof("outcome") == "classification"


@pytest.mark.parametrize("name", CLASSES)
async def test_a_network_that_is_not_loaded_yet_is_loaded_when_it_is_asked(
    classifier, screening_triton, name
):
    screening_triton.asleep = {name: screening_triton.descriptions.pop(name)}
    listed = (await classifier.ListClassifiers(classifier_pb2.ListClassifiersRequest())).models
    assert name not in {model.name for model in listed if not model.on_request}
    assert name in screening_triton.asleep
    await classifier.ScreenField(classifier_pb2.ScreenFieldRequest(image=png(crop(0))))
    await screen_cells(classifier, cells(0))
    listed = (await classifier.ListClassifiers(classifier_pb2.ListClassifiersRequest())).models
    assert name in {model.name for model in listed}


async def test_a_network_that_describes_itself_wrongly_is_as_good_as_none(classifier, screening_triton):
    screening_triton.descriptions["leukemia_field"] = describe(classes="benign")
    screening_triton.descriptions["leukemia_cell"] = describe("leukemia_cell", flag_threshold="2")
    for call in (
        classifier.ScreenField(classifier_pb2.ScreenFieldRequest(image=png(crop(0)))),
        screen_cells(classifier, cells(0)),
    ):
        code, reason, _ = await refused(call)
        assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "SCREEN_NOT_LOADED")


async def test_a_network_that_goes_between_question_and_answer_is_not_loaded(classifier, screening_triton):
    screening_triton.failing["leukemia_field"] = NotFound("no such network is loaded")
    code, reason, _ = await refused(
        classifier.ScreenField(classifier_pb2.ScreenFieldRequest(image=png(crop(0))))
    )
    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "SCREEN_NOT_LOADED")


async def test_while_triton_is_away_a_screen_may_be_tried_again(classifier, screening_triton):
    screening_triton.up = False
    code, _, _ = await refused(classifier.ScreenField(classifier_pb2.ScreenFieldRequest(image=png(crop(0)))))
    assert code is grpc.StatusCode.UNAVAILABLE


async def test_an_answer_that_is_no_distribution_is_an_error_and_no_finding(classifier, screening_triton):
    screening_triton.spoilt["leukemia_field"] = np.full((1, 4), np.nan, np.float32)
    code, _, _ = await refused(classifier.ScreenField(classifier_pb2.ScreenFieldRequest(image=png(crop(0)))))
    assert code is grpc.StatusCode.INTERNAL


async def test_the_networks_are_listed_with_their_task_and_classes_and_cannot_classify(
    classifier, screening_triton
):
    listed = (await classifier.ListClassifiers(classifier_pb2.ListClassifiersRequest())).models
    screens = {model.name: model for model in listed if model.screen_classes}
    assert screens.keys() == set(CLASSES)
    assert screens["leukemia_field"].task == cells_pb2.MODEL_TASK_SCREEN_FIELD
    assert screens["leukemia_cell"].task == cells_pb2.MODEL_TASK_SCREEN_CELL
    assert list(screens["leukemia_field"].screen_classes) == ["benign", "early", "pre", "pro"]
    assert list(screens["leukemia_field"].screen_flag_classes) == ["early", "pre", "pro"]
    assert screens["leukemia_cell"].crop_margin == pytest.approx(0.15)
    request = cells(0)
    as_classifier = classifier_pb2.ClassifyRequest(model="leukemia_cell", cells=request.cells)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        _ = [response async for response in classifier.Classify(iter([as_classifier]))]
    assert error.value.code() is grpc.StatusCode.NOT_FOUND
    screening_triton.descriptions.clear()
    listed = (await classifier.ListClassifiers(classifier_pb2.ListClassifiersRequest())).models
    assert not any(model.screen_classes for model in listed)


@pytest.mark.parametrize(
    "changes",
    [
        {"classes": "benign"},
        {"classes": "benign,early,pre,benign"},
        {"flag_classes": ""},
        {"flag_classes": "malignant"},
        {"flag_classes": "benign,early,pre,pro"},
        {"flag_threshold": "1.5"},
        {"flag_threshold": None},
        {"sha256": "none"},
        {"preprocessing_version": "0"},
        {"task": "classification"},
        {"task": "screen_cell"},
        {"outputs": (3,)},
        {"dims": (64, 32, 3)},
        {"input_name": "crops"},
    ],
)
def test_a_configuration_that_does_not_hold_together_is_refused(changes):
    with pytest.raises(UnusableModelError):
        parse_screening_model(describe(**changes), ScreenTask.FIELD)


def test_a_network_of_crops_needs_their_margin():
    with pytest.raises(UnusableModelError, match="crop_margin"):
        parse_screening_model(describe("leukemia_cell", crop_margin=None), ScreenTask.CELL)


@given(
    st.lists(st.floats(0.001, 1), min_size=4, max_size=4).map(lambda raw: np.array([raw]) / sum(raw)),
    st.floats(0, 1),
)
def test_a_flag_is_the_sum_of_its_classes_against_the_threshold_as_shown(distribution, threshold):
    model = parse_screening_model(describe(flag_threshold=str(threshold)), ScreenTask.FIELD)
    (finding,) = findings(distribution.astype(np.float32), model)
    assert finding.probability == pytest.approx(1 - distribution[0, 0], abs=1e-5)
    assert finding.flagged == (np.float32(finding.probability) >= np.float32(threshold))
