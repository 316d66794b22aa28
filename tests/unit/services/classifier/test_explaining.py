"""Explain over gRPC, on a Triton that answers from arithmetic."""

from dataclasses import replace
from datetime import UTC, datetime

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from hemaserve.cells import LEAF_TYPES, CellType
from hemaserve.errors import Internal, ResourceExhausted
from hemaserve.site_profile import IDENTITY, ColourCorrection, SiteProfile, to_json
from hemaserve.v1 import cells_pb2, classifier_pb2, classifier_pb2_grpc
from services.classifier.application import ClassifierApplication
from services.classifier.explanation import explanation
from services.classifier.settings import ClassifierSettings
from services.runtime.remote import open_channel
from services.runtime.server import running
from services.runtime.translate import type_from_proto, type_to_proto
from services.triton.descriptions import TensorDescription


@pytest.fixture
async def classifier(explaining_triton, tmp_path, monkeypatch):
    async def close():
        pass

    monkeypatch.setattr(explaining_triton, "close", close, raising=False)
    settings = ClassifierSettings(
        listen="127.0.0.1:0",
        metrics_listen="127.0.0.1:0",
        site_profiles=tmp_path,
        default_members=("xception", "vit"),
    )
    application = ClassifierApplication(settings, explaining_triton)
    async with (
        running(application, settings, name="classifier") as server,
        open_channel(server.address) as channel,
    ):
        yield classifier_pb2_grpc.ClassifierServiceStub(channel)


def to_classify(pixels):
    crop = cells_pb2.Crop(cell_id="c", size_px=len(pixels), data=pixels.tobytes())
    return classifier_pb2.CellToClassify(crop=crop)


async def explain(classifier, pixels, *, cell_type=None, **changes):
    request = classifier_pb2.ExplainRequest(
        cell=to_classify(pixels), type=type_to_proto(cell_type), **changes
    )
    return await classifier.Explain(request, timeout=20)


async def refused(classifier, request):
    """Code, message, reason and field of a refusal."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await classifier.Explain(request, timeout=20)
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in rpc_status.from_call(caught.value).details:
        detail.Unpack(info) or detail.Unpack(bad)
    field = bad.field_violations[0].field if bad.field_violations else ""
    return caught.value.code(), caught.value.details(), info.reason, field


def shown(message):
    return np.frombuffer(message.values, np.uint8).reshape(message.height, message.width)


def expected(triton, crops, members, cell_type):
    return explanation(
        {member: triton.evidence(member, crops)[0] for member in members},
        {member: triton.opinion(member, crops)[0] for member in members},
        LEAF_TYPES,
        cell_type,
    ).values


@pytest.mark.parametrize(
    ("model", "members"),
    [("xception", ["xception"]), ("vit", ["vit"]), ("", ["xception", "vit"])],
)
@pytest.mark.parametrize("cell_type", [None, CellType.NEUTROPHIL, CellType.MYELOCYTE, CellType.PLATELET])
async def test_the_map_is_made_of_the_networks_evidence_and_probabilities(
    classifier, explaining_triton, tagged_crops, model, members, cell_type
):
    crops = tagged_crops([7])
    response = await explain(classifier, crops[0], cell_type=cell_type, model=model)
    found = response.explanation
    given = type_from_proto(response.classification.type)
    assert type_from_proto(found.type) is (cell_type or given)
    assert not found.HasField("area")
    want = expected(explaining_triton, crops, members, cell_type or given)
    assert want.any()
    np.testing.assert_array_equal(shown(found), want)


@pytest.mark.parametrize("model", ["", "xception", "vit"])
async def test_the_cell_is_named_as_classify_names_it(classifier, explaining_triton, tagged_crops, model):
    crops = tagged_crops([3])
    response = await explain(classifier, crops[0], model=model)
    request = classifier_pb2.ClassifyRequest(model=model, cells=[to_classify(crops[0])])
    (other,) = [each async for each in classifier.Classify(iter([request]), timeout=20)]
    said, named = response.classification, other.cells[0].classification
    assert response.provenance == other.provenance
    assert (said.type, said.primary_type, said.identified) == (
        named.type,
        named.primary_type,
        named.identified,
    )
    assert said.probability == pytest.approx(named.probability, rel=1e-5)
    assert [member.model for member in said.members] == [member.model for member in named.members]
    assert not said.degraded


async def test_tritons_ensemble_is_not_asked(classifier, explaining_triton, tagged_crops):
    explaining_triton.batches.clear()
    await explain(classifier, tagged_crops([7])[0])
    assert sorted(explaining_triton.batches) == [("vit", 1), ("xception", 1)]


async def test_without_a_member_the_others_explain_and_say_so(classifier, explaining_triton, tagged_crops):
    crops = tagged_crops([7])
    explaining_triton.failing["vit"] = Internal("broken")
    response = await explain(classifier, crops[0])
    assert response.classification.degraded
    assert [member.name for member in response.provenance.members] == ["xception"]
    want = expected(explaining_triton, crops, ["xception"], type_from_proto(response.explanation.type))
    np.testing.assert_array_equal(shown(response.explanation), want)


async def test_an_ensemble_that_triton_lost_is_explained_by_its_members(
    classifier, explaining_triton, tagged_crops
):
    explaining_triton.unload("ensemble")
    await classifier.ListClassifiers(classifier_pb2.ListClassifiersRequest())
    response = await explain(classifier, tagged_crops([7])[0])
    assert response.classification.degraded
    assert response.provenance.classifier == cells_pb2.ModelProvenance(name="ensemble")
    assert [member.name for member in response.provenance.members] == ["xception", "vit"]
    assert response.explanation.values


@pytest.mark.parametrize(
    ("failing", "code"),
    [(["vit", "xception"], grpc.StatusCode.RESOURCE_EXHAUSTED), (["vit"], grpc.StatusCode.OK)],
)
async def test_with_every_queue_full_the_caller_is_told_to_come_back(
    classifier, explaining_triton, tagged_crops, failing, code
):
    explaining_triton.failing |= dict.fromkeys(failing, ResourceExhausted("full"))
    request = classifier_pb2.ExplainRequest(cell=to_classify(tagged_crops([7])[0]))
    call = classifier.Explain(request, timeout=20)
    assert await call.code() is code


async def test_a_network_without_evidence_is_refused_and_those_with_it_are_named(classifier, tagged_crops):
    cell = to_classify(tagged_crops([7])[0])
    code, message, reason, _ = await refused(
        classifier, classifier_pb2.ExplainRequest(model="plain", cell=cell)
    )
    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "MODEL_NOT_EXPLAINABLE")
    assert "'plain'" in message
    assert message.endswith("ensemble, vit, xception")


async def test_an_ensemble_is_explainable_only_with_all_its_members(
    classifier, explaining_triton, tagged_crops
):
    explaining_triton.descriptions["vit"] = explaining_triton.describe("vit")
    await classifier.ListClassifiers(classifier_pb2.ListClassifiersRequest())
    cell = to_classify(tagged_crops([7])[0])
    code, message, reason, _ = await refused(classifier, classifier_pb2.ExplainRequest(cell=cell))
    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "MODEL_NOT_EXPLAINABLE")
    assert "'ensemble'" in message
    assert message.endswith(": xception")


async def test_the_models_say_whether_they_can_be_explained(classifier):
    response = await classifier.ListClassifiers(classifier_pb2.ListClassifiersRequest())
    said = {model.name: model.explainable for model in response.models}
    assert said == {"ensemble": True, "vit": True, "xception": True, "plain": False}


@pytest.mark.parametrize("dims", [(3, 3), (10, 3, 3), (11, 0, 3), (11, -1, -1), (11, 3, 3, 1)])
async def test_a_network_with_evidence_of_another_shape_is_not_used(
    classifier, explaining_triton, tagged_crops, dims
):
    plain = explaining_triton.describe("odd")
    outputs = (*plain.outputs, TensorDescription("evidence", "FP32", dims))
    explaining_triton.descriptions["odd"] = replace(plain, outputs=outputs)
    response = await classifier.ListClassifiers(classifier_pb2.ListClassifiersRequest())
    assert "odd" not in {model.name for model in response.models}


@pytest.mark.parametrize(
    "evidence",
    [
        np.full((1, 11, 3, 3), np.nan, np.float32),
        np.full((1, 11, 3, 3), np.inf, np.float32),
        np.zeros((1, 11, 4, 3), np.float32),
        np.zeros((2, 11, 3, 3), np.float32),
    ],
)
async def test_evidence_that_is_none_is_an_error_and_costs_an_ensemble_only_that_member(
    classifier, explaining_triton, tagged_crops, evidence
):
    explaining_triton.spoilt_evidence["xception"] = evidence
    cell = to_classify(tagged_crops([7])[0])
    code, *_ = await refused(classifier, classifier_pb2.ExplainRequest(model="xception", cell=cell))
    assert code is grpc.StatusCode.INTERNAL
    response = await explain(classifier, tagged_crops([7])[0])
    assert response.classification.degraded
    assert [member.name for member in response.provenance.members] == ["vit"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"cell": classifier_pb2.CellToClassify()}, "cell.crop.data"),
        (
            {"cell": classifier_pb2.CellToClassify(crop=cells_pb2.Crop(size_px=96, data=b"x"))},
            "cell.crop.data",
        ),
        (
            {"cell": classifier_pb2.CellToClassify(crop=cells_pb2.Crop(size_px=1, data=b"x"))},
            "cell.crop.size_px",
        ),
        ({"cell": classifier_pb2.CellToClassify(field_id="x" * 129)}, "cell.field_id"),
        (
            {"cell": classifier_pb2.CellToClassify(crop=cells_pb2.Crop(cell_id="x" * 129))},
            "cell.crop.cell_id",
        ),
        ({"model": "x" * 129}, "model"),
        ({"site_profile": "no-such"}, "site_profile"),
        ({"type": 99}, "type"),
        ({"type": cells_pb2.CELL_TYPE_BLAST}, "type"),
    ],
)
async def test_what_is_wrong_with_a_request_is_told_by_its_field(classifier, tagged_crops, changes, field):
    request = classifier_pb2.ExplainRequest(**{"cell": to_classify(tagged_crops([7])[0]), **changes})
    code, message, _, told = await refused(classifier, request)
    assert (code, told) == (grpc.StatusCode.INVALID_ARGUMENT, field)
    assert message.startswith(f"{field}: ")


async def test_a_type_that_the_model_cannot_answer_is_refused_with_those_that_it_can(
    classifier, tagged_crops
):
    request = classifier_pb2.ExplainRequest(
        cell=to_classify(tagged_crops([7])[0]), type=cells_pb2.CELL_TYPE_BLAST
    )
    _, message, reason, _ = await refused(classifier, request)
    assert reason == "TYPE_NOT_ANSWERED"
    assert "blast" in message
    assert "neutrophil_band" in message


async def test_an_unknown_model_is_not_found(classifier, tagged_crops):
    request = classifier_pb2.ExplainRequest(cell=to_classify(tagged_crops([7])[0]), model="resnet")
    code, *_ = await refused(classifier, request)
    assert code is grpc.StatusCode.NOT_FOUND


async def test_a_site_profile_corrects_what_is_explained(
    classifier, explaining_triton, tagged_crops, tmp_path
):
    correction = ColourCorrection(IDENTITY.matrix, (0.5, 0.4, 0.3))
    profile = SiteProfile("dark", datetime(2026, 11, 21, 9, tzinfo=UTC), 10, 40, correction)
    (tmp_path / "dark.json").write_text(to_json(profile))
    crops = tagged_crops([200 + 256 * 180 + 65_536 * 160])
    plain = await explain(classifier, crops[0], model="vit", cell_type=CellType.BASOPHIL)
    corrected = await explain(
        classifier, crops[0], model="vit", cell_type=CellType.BASOPHIL, site_profile="dark"
    )
    assert corrected.explanation.values != plain.explanation.values
    assert corrected.provenance.site_profile.name == "dark"
    assert not plain.provenance.HasField("site_profile")
