"""The leukemia screen through gateway, detector, classifier and the real Triton."""

import grpc
import numpy as np
import pytest

from hemaserve.imaging import decode, letterbox, mask_scale_bar
from hemaserve.v1 import cells_pb2, gateway_pb2

TIMEOUT_S = 240
SCREENS = {"leukemia_field", "leukemia_cell"}
SCREEN = gateway_pb2.AnalyzeOptions(screen=True, crop_encoding=cells_pb2.CROP_ENCODING_RAW_RGB8)


@pytest.fixture(scope="session")
def images(field_files):
    return [path.read_bytes() for path in field_files[:4]]


async def analyze(stub, image, options=SCREEN):
    request = gateway_pb2.AnalyzeFieldRequest(field=gateway_pb2.Field(image=image), options=options)
    return await stub.AnalyzeField(request, timeout=TIMEOUT_S)


def row(finding):
    return [each.probability for each in finding.classes]


def check(finding, probabilities, parameters):
    """A finding is what the network says of the pixels, by the network's own classes and threshold."""
    classes = parameters["classes"].split(",")
    assert [getattr(each, "class") for each in finding.classes] == classes
    np.testing.assert_allclose(row(finding), probabilities, atol=5e-3)
    flagging = sum(
        finding.classes[classes.index(name)].probability for name in parameters["flag_classes"].split(",")
    )
    assert finding.probability == pytest.approx(flagging, abs=1e-5)
    assert finding.flagged == (np.float32(finding.probability) >= np.float32(parameters["flag_threshold"]))


async def test_the_networks_are_loaded_when_a_screen_is_first_asked_for(screening, images):
    stub, triton = screening
    if not SCREENS & set(await triton.models()):  # first of the session
        listed = await stub.ListModels(gateway_pb2.ListModelsRequest())
        assert not SCREENS & {model.name for model in listed.models if not model.on_request}
        await analyze(stub, images[0], gateway_pb2.AnalyzeOptions())
        assert not SCREENS & set(await triton.models())
    await analyze(stub, images[0])
    assert set(await triton.models()) >= SCREENS
    listed = {model.name: model for model in (await stub.ListModels(gateway_pb2.ListModelsRequest())).models}
    assert listed["leukemia_field"].task == cells_pb2.MODEL_TASK_SCREEN_FIELD
    assert listed["leukemia_cell"].task == cells_pb2.MODEL_TASK_SCREEN_CELL
    assert listed["leukemia_cell"].ready


async def test_a_fields_finding_is_what_the_network_says_of_it_without_its_scale_bar(screening, images):
    stub, triton = screening
    for image in images:
        answer = await analyze(stub, image)
        config = await triton.model_config("leukemia_field")
        square = letterbox(mask_scale_bar(decode(image)), config.inputs[0].dims[0])[0]
        said = await triton.infer("leukemia_field", {"fields": square[None]}, ["probabilities"])
        check(answer.result.screen, said["probabilities"][0], config.parameters)


async def test_each_white_cells_finding_is_what_the_network_says_of_its_crop(screening, images):
    stub, triton = screening
    cells = [cell for image in images for cell in (await analyze(stub, image)).result.cells]
    assert len(cells) >= 2
    config = await triton.model_config("leukemia_cell")
    for cell in cells:
        side = cell.crop.size_px
        crop = np.frombuffer(cell.crop.data, np.uint8).reshape(1, side, side, 3)
        said = await triton.infer("leukemia_cell", {"crops": crop}, ["probabilities"])
        check(cell.screen, said["probabilities"][0], config.parameters)
        assert cell.HasField("classification")


async def test_a_smears_screen_adds_up_its_fields(screening, images):
    stub, _ = screening
    opening = gateway_pb2.OpenSmear(smear_id="smear", options=gateway_pb2.AnalyzeOptions(screen=True))
    messages = [
        gateway_pb2.AnalyzeSmearRequest(open=opening),
        *(
            gateway_pb2.AnalyzeSmearRequest(field=gateway_pb2.Field(field_id=str(i), sequence=i, image=image))
            for i, image in enumerate(images)
        ),
    ]
    responses = [response async for response in stub.AnalyzeSmear(iter(messages), timeout=TIMEOUT_S)]
    results, smear = [response.field_result for response in responses[:-1]], responses[-1].smear_result
    assert smear.screen.fields_screened == len(images)
    assert smear.screen.fields_flagged == sum(result.screen.flagged for result in results)
    cells = [cell for result in results for cell in result.cells]
    assert smear.screen.cells_screened == len(cells)
    assert smear.screen.cells_flagged == sum(cell.screen.flagged for cell in cells)
    assert {source.name for source in smear.provenance.screens} == SCREENS
    flagged = bool(smear.screen.fields_flagged or smear.screen.cells_flagged)
    assert (gateway_pb2.REVIEW_REASON_SCREEN_FLAGGED in smear.differential.review_reasons) == flagged


async def test_a_classifier_that_was_not_loaded_is_loaded_when_it_is_named(screening, images):
    stub, triton = screening
    answer = await analyze(stub, images[0], gateway_pb2.AnalyzeOptions(model="xception"))
    assert answer.result.provenance.classifier.name == "xception"
    assert "xception" in await triton.models()
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await analyze(stub, images[0], gateway_pb2.AnalyzeOptions(model="rose"))
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
