"""Why a cell is unidentified, as the client hands it on."""

import pytest

from hemaserve.client import Client, translate
from hemaserve.results import UnidentifiedReason as Reason
from hemaserve.results import as_json
from hemaserve.v1 import cells_pb2, gateway_pb2

from .fake_gateway import FakeGateway, served


def unidentified(**changes) -> cells_pb2.Classification:
    return cells_pb2.Classification(
        type=cells_pb2.CELL_TYPE_MONOCYTE,
        primary_type=cells_pb2.CELL_TYPE_MONOCYTE,
        probability=0.75,
        **changes,
    )


class AbstainingGateway(FakeGateway):
    async def AnalyzeField(self, request, context):
        response = await super().AnalyzeField(request, context)
        said = unidentified(
            ood_score=3.5,
            disagreement=0.25,
            unidentified_reasons=[
                cells_pb2.UNIDENTIFIED_REASON_OUT_OF_DISTRIBUTION,
                cells_pb2.UNIDENTIFIED_REASON_MEMBERS_DISAGREE,
            ],
        )
        response.result.cells[0].classification.CopyFrom(said)
        limits = cells_pb2.Provenance(ood_limit=2.5, disagreement_limit=0.125)
        response.result.provenance.MergeFrom(limits)
        return response


async def test_scores_reasons_and_limits_reach_the_caller_and_its_json():
    async with served(AbstainingGateway()) as address, Client(address) as client:
        result = await client.analyze_field(b"an image")
    (cell,) = result.cells
    assert not cell.identified
    said = cell.classification
    assert (said.ood_score, said.disagreement) == (3.5, 0.25)
    assert said.unidentified_reasons == (Reason.OUT_OF_DISTRIBUTION, Reason.MEMBERS_DISAGREE)
    assert (result.provenance.ood_limit, result.provenance.disagreement_limit) == (2.5, 0.125)
    document = as_json(result)
    shown = document["cells"][0]["classification"]
    assert (shown["ood_score"], shown["disagreement"]) == (3.5, 0.25)
    assert shown["unidentified_reasons"] == ["out_of_distribution", "members_disagree"]
    assert document["provenance"]["ood_limit"] == 2.5


def test_a_score_of_zero_is_not_a_missing_one():
    said = translate.classification(unidentified(ood_score=0.0, disagreement=0.0))
    assert (said.ood_score, said.disagreement) == (0.0, 0.0)
    silent = translate.classification(unidentified())
    assert (silent.ood_score, silent.disagreement) == (None, None)


@pytest.mark.parametrize("number", [0, 99])
def test_a_reason_of_a_newer_service_is_another_one(number):
    said = translate.classification(unidentified(unidentified_reasons=[number]))
    assert said.unidentified_reasons == (Reason.OTHER,)


def test_a_provenance_without_limits_claims_none():
    result = translate.field_result(gateway_pb2.FieldResult())
    assert (result.provenance.ood_limit, result.provenance.disagreement_limit) == (None, None)
