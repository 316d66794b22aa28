"""Real fields through the gateway, the detector, the classifier and Triton."""

import io

import numpy as np
import pytest
from PIL import Image

from hemaserve.cells import LEAF_TYPES, Kind
from hemaserve.differential import CountedCell, count
from hemaserve.geometry import Box
from hemaserve.imaging import cut_crop, decode
from hemaserve.v1 import cells_pb2, gateway_pb2
from services.runtime.translate import type_from_proto, type_to_proto

TIMEOUT_S = 240


def opening(**parts):
    return gateway_pb2.AnalyzeSmearRequest(open=gateway_pb2.OpenSmear(smear_id="smear", **parts))


def wrapped(field):
    return gateway_pb2.AnalyzeSmearRequest(field=field)


async def smear(stub, fields, **parts):
    """All responses of one smear."""
    messages = iter([opening(**parts), *map(wrapped, fields)])
    return [response async for response in stub.AnalyzeSmear(messages, timeout=TIMEOUT_S)]


def differential_of(results):
    """The differential counted again from the cells of field results."""
    cells = [cell.classification for result in results for cell in result.cells]
    return count([CountedCell(type_from_proto(said.type), said.identified) for said in cells])


async def test_a_field_comes_back_with_its_white_cells_named(stub, images, ensemble_members):
    answers = [
        await stub.AnalyzeField(
            gateway_pb2.AnalyzeFieldRequest(field=gateway_pb2.Field(image=image)), timeout=TIMEOUT_S
        )
        for image in images[:6]
    ]
    cells = [cell for answer in answers for cell in answer.result.cells]
    assert len(cells) >= 4, "next to none of six fields' white cells were found"
    for cell in cells:
        assert cell.detection.kind == cells_pb2.CELL_KIND_WBC
        leaves = cell.classification.leaf_probabilities
        assert [each.type for each in leaves] == [type_to_proto(leaf) for leaf in LEAF_TYPES]
        assert sum(each.probability for each in leaves) == pytest.approx(1, abs=1e-3)
        assert [member.model for member in cell.classification.members] == list(ensemble_members)
    for answer, image in zip(answers, images, strict=False):
        result = answer.result
        assert (result.width_px, result.height_px) == Image.open(io.BytesIO(image)).size
        assert result.provenance.detector.name == "yolov8n"
        assert result.provenance.classifier.name == "ensemble"
        assert len(result.provenance.members) == len(ensemble_members)
        again = differential_of([result])
        assert answer.differential.identified_leukocytes == again.identified_leukocytes
        assert answer.differential.unidentified == again.unidentified


async def test_a_smear_is_counted_from_all_its_fields(stub, smear_fields):
    *fields, last = await smear(stub, smear_fields)
    results = [response.field_result for response in fields]
    assert {result.field_id for result in results} == {field.field_id for field in smear_fields}
    assert not any(result.HasField("error") for result in results)
    again = differential_of(results)
    differential = last.smear_result.differential
    assert [share.count for share in differential.leukocytes] == [share.count for share in again.leukocytes]
    assert differential.unidentified == again.unidentified
    assert last.smear_result.fields_counted == len(smear_fields)


async def test_a_stream_killed_midway_and_resumed_counts_every_field_once(stub, smear_fields):
    call = stub.AnalyzeSmear(iter([opening(target=100), *map(wrapped, smear_fields)]), timeout=TIMEOUT_S)
    received = [(await call.read()).field_result for _ in range(6)]
    call.cancel()
    done = {result.field_id for result in received}
    missing = [field for field in smear_fields if field.field_id not in done]
    tallies = [result.tally for result in received]
    *rest, last = await smear(stub, missing, target=100, received=tallies)
    results = received + [response.field_result for response in rest]
    assert sorted(result.sequence for result in results) == list(range(len(smear_fields)))
    again = differential_of(results)
    differential = last.smear_result.differential
    assert [share.count for share in differential.leukocytes] == [share.count for share in again.leukocytes]
    assert differential.unidentified == again.unidentified
    # The same tallies without any field give the same result, under the same id.
    (only,) = await smear(stub, [], target=100, received=[result.tally for result in results])
    assert only.smear_result.differential == differential
    assert only.smear_result.result_id == last.smear_result.result_id


async def test_cells_that_were_detected_are_named_the_same_when_sent_as_located_cells(stub, images):
    field = gateway_pb2.Field(image=images[0])
    analyzed = await stub.AnalyzeField(gateway_pb2.AnalyzeFieldRequest(field=field), timeout=TIMEOUT_S)
    located = [
        gateway_pb2.LocatedCell(cell_id=cell.detection.cell_id, image=images[0], box=cell.detection.box)
        for cell in analyzed.result.cells
    ]
    request = gateway_pb2.ClassifyCellsRequest(cells=located)
    (response,) = [each async for each in stub.ClassifyCells(iter([request]), timeout=TIMEOUT_S)]
    assert len(response.cells) == len(located) > 0
    for named, cell in zip(response.cells, analyzed.result.cells, strict=True):
        ours = [each.probability for each in named.classification.leaf_probabilities]
        theirs = [each.probability for each in cell.classification.leaf_probabilities]
        assert np.abs(np.subtract(ours, theirs)).max() < 0.05


async def test_detected_cells_come_with_the_crops_that_the_shared_function_cuts(stub, images):
    request = gateway_pb2.DetectCellsRequest(
        field=gateway_pb2.Field(image=images[0]), crop_encoding=cells_pb2.CROP_ENCODING_PNG
    )
    answer = await stub.DetectCells(request, timeout=TIMEOUT_S)
    assert {found.kind for found in answer.detections} >= {cells_pb2.CELL_KIND_WBC, cells_pb2.CELL_KIND_RBC}
    assert len(answer.crops) == len(answer.detections)
    found = answer.detections[0].box
    box = Box(found.x0_px, found.y0_px, found.x1_px, found.y1_px)
    expected = cut_crop(decode(images[0]), box, size=96, margin=0.15)
    assert np.abs(decode(answer.crops[0].data).astype(int) - expected).max() <= 2


async def test_models_of_both_kinds_are_listed(stub, ensemble_members):
    models = {model.name: model for model in (await stub.ListModels(gateway_pb2.ListModelsRequest())).models}
    assert {"yolov8n", *ensemble_members, "ensemble"} <= set(models)
    assert all(model.ready for model in models.values() if not model.on_request)
    assert len(models["yolov8n"].kinds) == len(Kind)
