"""Site profiles on their way through the gateway: each field and each request of cells names its own."""

import grpc
import numpy as np
import pytest

from hemaserve import synthetic
from hemaserve.errors import InvalidArgument
from hemaserve.v1 import cells_pb2, gateway_pb2
from services.gateway.provenance import merge_provenances

SEGMENTED = cells_pb2.CELL_TYPE_NEUTROPHIL_SEGMENTED
UNKNOWN = InvalidArgument("site_profile", "no site profile 'x'", "a-lab", reason="SITE_PROFILE_NOT_FOUND")


async def analyze(world, field):
    return await world.stub.AnalyzeField(gateway_pb2.AnalyzeFieldRequest(field=field), timeout=20)


def profiles_sent(world):
    return {call.name: call.request.site_profile for call in world.classifier.calls}


async def test_a_field_s_profile_reaches_the_classifier_and_comes_back_as_provenance(world):
    answer = await analyze(world, world.field("f", [SEGMENTED], site_profile="a-lab"))
    assert profiles_sent(world) == {"f": "a-lab"}
    assert answer.result.provenance.site_profile.name == "a-lab"
    assert len(answer.result.provenance.site_profile.sha256) == 64


async def test_without_a_profile_none_is_told(world):
    answer = await analyze(world, world.field("f", [SEGMENTED]))
    assert profiles_sent(world) == {"f": ""}
    assert not answer.result.provenance.HasField("site_profile")


async def test_another_profile_makes_another_result(world):
    ids = [
        (await analyze(world, world.field("f", [SEGMENTED], site_profile=name))).result.result_id
        for name in ("", "a-lab", "b-lab", "a-lab")
    ]
    assert len(set(ids)) == 3
    assert ids[1] == ids[3]


async def test_fields_of_one_smear_may_name_different_profiles(world):
    names = ["a-lab", "b-lab", ""]
    fields = [
        world.field(str(number), [SEGMENTED], sequence=number, site_profile=name)
        for number, name in enumerate(names)
    ]
    results, smear = await world.smear(fields)
    assert profiles_sent(world) == {"0": "a-lab", "1": "b-lab", "2": ""}
    assert {result.field_id: result.provenance.site_profile.name for result in results} == {
        "0": "a-lab",
        "1": "b-lab",
        "2": "",
    }
    # One name would be wrong for the others.
    assert not smear.provenance.HasField("site_profile")


async def test_a_smear_of_one_profile_tells_it(world):
    fields = [world.field(str(n), [SEGMENTED] * n, sequence=n, site_profile="a-lab") for n in range(3)]
    _, smear = await world.smear(fields)
    assert smear.provenance.site_profile.name == "a-lab"


async def test_an_unknown_profile_is_refused_by_the_path_in_the_caller_s_request(world):
    world.classifier.errors["f"] = UNKNOWN
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await analyze(world, world.field("f", [SEGMENTED], site_profile="x"))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == ("field.acquisition.site_profile: no site profile 'x'; allowed: a-lab")


async def test_a_field_of_a_smear_with_an_unknown_profile_fails_alone(world):
    world.classifier.errors["1"] = UNKNOWN
    fields = [world.field(str(n), [SEGMENTED], sequence=n, site_profile="x" * (n == 1)) for n in range(3)]
    results, smear = await world.smear(fields)
    failed = {result.field_id: result.error.message for result in results if result.HasField("error")}
    assert list(failed) == ["1"]
    assert failed["1"].startswith("field.acquisition.site_profile")
    assert smear.fields_counted == 2


async def test_requests_of_located_cells_name_their_own(world):
    image = synthetic.encode_png(np.full((30, 30, 3), SEGMENTED, np.uint8))
    requests = [
        gateway_pb2.ClassifyCellsRequest(cells=[gateway_pb2.LocatedCell(image=image)], site_profile=name)
        for name in ("a-lab", "", "b-lab")
    ]
    responses = [response async for response in world.stub.ClassifyCells(iter(requests), timeout=20)]
    assert [response.provenance.site_profile.name for response in responses] == ["a-lab", "", "b-lab"]


@pytest.mark.parametrize("where", ["field", "cells"])
async def test_too_long_a_name_is_refused_here(world, where):
    async def cells():
        requests = [gateway_pb2.ClassifyCellsRequest(site_profile="x" * 65)]
        return [response async for response in world.stub.ClassifyCells(iter(requests), timeout=20)]

    call = cells() if where == "cells" else analyze(world, world.field("f", [], site_profile="x" * 65))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "site_profile: 65 characters" in caught.value.details()
    assert not world.classifier.calls


async def test_profiles_are_listed_as_the_classifier_has_them(world):
    listed = await world.stub.ListSiteProfiles(gateway_pb2.ListSiteProfilesRequest(), timeout=20)
    assert [(profile.name, profile.fields) for profile in listed.site_profiles] == [("a-lab", 12)]


def test_a_provenance_tells_a_profile_only_where_it_corrected_everything():
    def part(name):
        classifier = cells_pb2.ModelProvenance(name="vit")
        profile = cells_pb2.SiteProfileProvenance(name=name, sha256="e" * 64) if name else None
        return cells_pb2.Provenance(classifier=classifier, site_profile=profile)

    without_cells = cells_pb2.Provenance(detector=cells_pb2.ModelProvenance(name="yolo"))
    assert merge_provenances([without_cells, part("a"), part("a")]).site_profile.name == "a"
    assert not merge_provenances([part("a"), part("b")]).HasField("site_profile")
    assert not merge_provenances(iter([part("a"), part("")])).HasField("site_profile")
    assert not merge_provenances([without_cells]).HasField("site_profile")
