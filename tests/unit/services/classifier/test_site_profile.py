"""Site profiles over gRPC: named in a request, seen in what the networks are shown, and told in the provenance."""

from datetime import UTC, datetime

import grpc
import numpy as np
import pytest
from google.protobuf import timestamp_pb2
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from hemaserve.site_profile import IDENTITY, ColourCorrection, SiteProfile, to_json
from hemaserve.v1 import cells_pb2, classifier_pb2, classifier_pb2_grpc
from services.classifier.application import ClassifierApplication
from services.classifier.settings import ClassifierSettings
from services.runtime.remote import open_channel
from services.runtime.server import running

DARKER = ColourCorrection(IDENTITY.matrix, (0.5, 0.4, 0.3))


@pytest.fixture
def folder(tmp_path):
    for name, correction in (("dark", DARKER), ("same", IDENTITY)):
        profile = SiteProfile(name, datetime(2026, 11, 21, 9, tzinfo=UTC), 10, 40, correction)
        (tmp_path / f"{name}.json").write_text(to_json(profile))
    return tmp_path


@pytest.fixture
async def classifier(triton, folder, monkeypatch):
    async def close():
        pass

    monkeypatch.setattr(triton, "close", close, raising=False)
    settings = ClassifierSettings(
        listen="127.0.0.1:0", metrics_listen="127.0.0.1:0", site_profiles=folder, default_model="vit"
    )
    application = ClassifierApplication(settings, triton)
    async with (
        running(application, settings, name="classifier") as server,
        open_channel(server.address) as channel,
    ):
        yield classifier_pb2_grpc.ClassifierServiceStub(channel)


def request(crops, **changes):
    cells = [
        classifier_pb2.CellToClassify(
            crop=cells_pb2.Crop(cell_id=str(index), size_px=len(crop), data=crop.tobytes())
        )
        for index, crop in enumerate(crops)
    ]
    return classifier_pb2.ClassifyRequest(cells=cells, **changes)


async def ask(classifier, *requests):
    return [response async for response in classifier.Classify(iter(requests), timeout=20)]


def probabilities(response):
    return np.array(
        [[each.probability for each in cell.classification.leaf_probabilities] for cell in response.cells]
    )


async def test_each_request_has_its_own_profile(classifier, triton, tagged_crops):
    crops = tagged_crops([100, 70_000])
    plain, dark, same = await ask(
        classifier, request(crops), request(crops, site_profile="dark"), request(crops, site_profile="same")
    )
    density = -np.log((crops + 1.0) / 256) + DARKER.offset
    darker = np.clip(np.rint(256 * np.exp(-density) - 1), 0, 255).astype(np.uint8)
    assert np.allclose(probabilities(plain), triton.opinion("vit", crops), atol=1e-6)
    assert np.allclose(probabilities(same), triton.opinion("vit", crops), atol=1e-6)
    assert np.allclose(probabilities(dark), triton.opinion("vit", darker), atol=1e-6)
    assert not np.allclose(probabilities(dark), probabilities(plain))


async def test_the_provenance_says_which_file_corrected(classifier, tagged_crops):
    crops = tagged_crops([1])
    plain, dark = await ask(classifier, request(crops), request(crops, site_profile="dark"))
    listed = await classifier.ListClassifierSiteProfiles(classifier_pb2.ListClassifierSiteProfilesRequest())
    (digest,) = [profile.sha256 for profile in listed.site_profiles if profile.name == "dark"]
    assert not plain.provenance.HasField("site_profile")
    assert dark.provenance.site_profile == cells_pb2.SiteProfileProvenance(name="dark", sha256=digest)
    assert dark.provenance.classifier == plain.provenance.classifier


async def test_profiles_are_listed_with_what_they_rest_on(classifier):
    listed = await classifier.ListClassifierSiteProfiles(classifier_pb2.ListClassifierSiteProfilesRequest())
    assert [profile.name for profile in listed.site_profiles] == ["dark", "same"]
    dark = listed.site_profiles[0]
    assert (dark.fields, dark.white_cells, len(dark.sha256)) == (10, 40, 64)
    assert dark.created_at == timestamp_pb2.Timestamp(seconds=1_795_251_600)


async def test_an_unknown_profile_names_the_field_and_those_there_are(classifier, tagged_crops):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ask(classifier, request(tagged_crops([1]), site_profile="nowhere"))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "dark, same" in caught.value.details()
    violations = error_details_pb2.BadRequest()
    details = rpc_status.from_call(caught.value).details
    assert any(detail.Unpack(violations) for detail in details)
    assert violations.field_violations[0].field == "site_profile"


async def test_a_profile_that_comes_later_needs_no_restart(classifier, folder, tagged_crops):
    profile = SiteProfile("late", datetime(2026, 11, 21, 9, tzinfo=UTC), 10, 40, DARKER)
    (folder / "late.json").write_text(to_json(profile))
    (answer,) = await ask(classifier, request(tagged_crops([1]), site_profile="late"))
    assert answer.provenance.site_profile.name == "late"
