"""Versions side by side, through a running gateway: who is asked, and what a change of the file does and does not."""

import asyncio
import io
import json

import pytest
from PIL import Image

from hemaserve.v1 import cells_pb2, gateway_pb2
from services.gateway.settings import GatewaySettings

LYMPHOCYTE = cells_pb2.CELL_TYPE_LYMPHOCYTE


class File:
    """A rollout file that a test edits, as an editor or a ConfigMap does: a new file in the old one's place."""

    def __init__(self, path):
        self.path = path
        self.says()

    def says(self, **models):
        self.replace(json.dumps({"format": "hemaserve.rollout.v1", "models": models}))

    def replace(self, text):
        partial = self.path.with_suffix(".partial")
        partial.write_text(text)
        partial.replace(self.path)


@pytest.fixture
def file(tmp_path):
    return File(tmp_path / "rollout.json")


@pytest.fixture
async def rolling(make_world, file):
    world = await make_world(rollout=file.path, models_max_age_s=0.0)
    world.classifier.models = ["vit", "vit-2", "xception"]
    await field_model(world)  # by now all that are there are known
    return world


def versions(result) -> str:
    return result.provenance.classifier.name


async def field_model(world, **options) -> str:
    request = gateway_pb2.AnalyzeFieldRequest(
        field=world.field("alone", [LYMPHOCYTE]), options=gateway_pb2.AnalyzeOptions(**options)
    )
    return versions((await world.stub.AnalyzeField(request)).result)


async def smear_models(world, smear_id, received=(), specimen="", fields=3, **options) -> set[str]:
    results, _ = await world.smear(
        [world.field(f"f{number}", [LYMPHOCYTE], sequence=number) for number in range(len(received), fields)],
        smear_id=smear_id,
        specimen=specimen,
        received=received,
        options=gateway_pb2.AnalyzeOptions(**options),
    )
    return {versions(result) for result in results}


async def test_a_share_of_the_smears_goes_to_the_candidate_and_no_smear_to_both(rolling, file):
    file.says(vit={"candidate": "vit-2", "share": 0.5})
    answered = [await smear_models(rolling, f"smear-{number}") for number in range(24)]
    assert {len(models) for models in answered} == {1}
    assert 4 < sum(models == {"vit-2"} for models in answered) < 20
    assert answered[:4] == [await smear_models(rolling, f"smear-{number}") for number in range(4)]


async def test_smears_of_one_specimen_are_answered_by_one_version(rolling, file):
    file.says(vit={"candidate": "vit-2", "share": 0.5})
    answered = [await smear_models(rolling, f"smear-{n}", specimen="A-1", fields=1) for n in range(8)]
    assert len(set.union(*answered)) == 1


async def test_a_smear_under_way_stays_with_its_version_when_the_file_changes(rolling, file, wait_until):
    gate = rolling.detector.hold("f1")
    smear = asyncio.create_task(smear_models(rolling, "smear"))
    await wait_until(lambda: rolling.classifier.seen("f0"))
    file.says(vit={"stable": "vit-2"})
    assert await smear_models(rolling, "another", fields=1) == {"vit-2"}
    gate.set()
    assert await smear == {"vit"}


async def test_a_smear_that_is_resumed_after_a_promotion_goes_on_with_its_version(rolling, file):
    results, _ = await rolling.smear([rolling.field("f0", [LYMPHOCYTE])])
    assert results[0].tally.classifier == "vit"
    file.says(vit={"stable": "vit-2"})
    received = [result.tally for result in results]
    assert await smear_models(rolling, "smear", received) == {"vit"}
    assert await smear_models(rolling, "fresh") == {"vit-2"}


async def test_promotion_and_roll_back_are_an_edit_of_the_file(rolling, file):
    answered = []
    for stable in ("vit", "vit-2", "vit"):
        file.says(vit={"stable": stable})
        answered.append((await field_model(rolling), *await smear_models(rolling, "smear", fields=1)))
    assert answered == [("vit", "vit"), ("vit-2", "vit-2"), ("vit", "vit")]


async def test_who_names_a_version_gets_that_one(rolling, file):
    file.says(vit={"stable": "vit-2"})
    assert await field_model(rolling, model="xception") == "xception"
    assert await field_model(rolling, model="vit") == "vit-2"
    file.says(vit={"candidate": "vit-2"})
    assert await field_model(rolling, model="vit-2") == "vit-2"


async def test_an_answer_has_the_same_id_for_ever_whatever_is_rolled_out_beside_it(rolling, file):
    async def result_id():
        results, _ = await rolling.smear([rolling.field("f0", [LYMPHOCYTE])])
        return results[0].result_id

    before = await result_id()
    file.says(vit={"candidate": "vit-2", "shadow_share": 1.0})
    assert await result_id() == before
    file.says(vit={"stable": "vit-2"})
    assert await result_id() != before


async def test_a_shadow_is_named_to_the_classifier_and_to_nobody_else(rolling, file):
    file.says(vit={"candidate": "vit-2", "shadow_share": 1.0})
    assert await field_model(rolling) == "vit"
    (call,) = rolling.classifier.seen("alone")[-1:]
    assert (call.request.model, call.request.shadow_model) == ("", "vit-2")
    assert await smear_models(rolling, "smear", fields=1) == {"vit"}
    assert rolling.classifier.seen("f0")[-1].request.shadow_model == "vit-2"


async def test_a_version_that_is_not_there_fails_nobody_and_is_told(rolling, file):
    file.says(vit={"stable": "vit-9"}, xception={"candidate": "vit-8", "share": 1.0, "shadow_share": 1.0})
    assert await field_model(rolling) == "vit"
    assert await smear_models(rolling, "smear", model="xception", fields=1) == {"xception"}
    assert rolling.classifier.seen("f0")[-1].request.shadow_model == ""
    listed = {
        model.name: model for model in (await rolling.stub.ListModels(gateway_pb2.ListModelsRequest())).models
    }
    assert list(listed["vit"].rollout.missing) == ["vit-9"]
    assert list(listed["xception"].rollout.missing) == ["vit-8"]
    assert assigned(rolling, model="vit", version="vit", role="other") == 1


async def test_a_version_that_is_not_loaded_is_loaded_and_nobody_waits_for_it(rolling, file):
    rolling.classifier.asleep = ["vit-3"]
    file.says(vit={"stable": "vit-3"})
    assert await field_model(rolling) == "vit"
    while await field_model(rolling) != "vit-3":  # noqa: ASYNC110 - the condition is a call
        await asyncio.sleep(0.005)
    assert rolling.classifier.asleep == []


async def test_a_version_that_is_lost_is_answered_for_and_loaded_again(rolling, file, wait_until):
    file.says(vit={"stable": "vit-2"})
    assert await field_model(rolling) == "vit-2"
    rolling.classifier.models.remove("vit-2")  # Triton was started again
    rolling.classifier.asleep = ["vit-2"]
    assert await field_model(rolling) == "vit"
    await wait_until(lambda: not rolling.classifier.asleep)
    assert await field_model(rolling) == "vit-2"


async def test_a_candidate_is_loaded_before_a_smear_is_given_to_it(rolling, file, wait_until):
    rolling.classifier.asleep = ["vit-4"]
    file.says(vit={"candidate": "vit-4"})
    await rolling.stub.ListModels(gateway_pb2.ListModelsRequest())
    await wait_until(lambda: not rolling.classifier.asleep)
    rolling.classifier.asleep = ["vit-5"]
    file.says(vit={"candidate": "vit-5"})
    assert await field_model(rolling) == "vit"
    await wait_until(lambda: not rolling.classifier.asleep)


async def test_a_file_that_got_broken_changes_nothing_and_is_told(rolling, file):
    file.says(vit={"stable": "vit-2"})
    assert await field_model(rolling) == "vit-2"
    file.replace('{"format": "hemaserve.rollout.v1", "mod')
    assert await field_model(rolling) == "vit-2"
    assert rolling.application.metrics.get_sample_value("hemaserve_rollout_file_usable") == 0
    file.says()
    assert await field_model(rolling) == "vit"
    assert rolling.application.metrics.get_sample_value("hemaserve_rollout_file_usable") == 1


async def test_a_gateway_does_not_start_with_a_file_that_it_cannot_use(make_world, tmp_path):
    with pytest.raises(OSError, match="cannot be read"):
        await make_world(rollout=tmp_path / "none.json")
    (tmp_path / "broken.json").write_text("{}")
    with pytest.raises(OSError, match=r"cannot be used: format"):
        await make_world(rollout=tmp_path / "broken.json")


async def test_located_cells_and_explanations_are_answered_by_the_stable_version(rolling, file):
    file.says(vit={"stable": "vit-2", "candidate": "vit", "share": 1.0})
    assert await field_model(rolling) == "vit-2"
    image = png()
    request = gateway_pb2.ExplainCellRequest(cell=gateway_pb2.LocatedCell(cell_id="c", image=image))
    explained = await rolling.stub.ExplainCell(request)
    assert explained.provenance.classifier.name == "vit-2"
    cells = gateway_pb2.ClassifyCellsRequest(cells=[gateway_pb2.LocatedCell(cell_id="c", image=image)])
    responses = [response async for response in rolling.stub.ClassifyCells(iter([cells, cells]))]
    assert {versions(response) for response in responses} == {"vit-2"}


async def test_a_stream_of_located_cells_is_answered_by_one_version(rolling, file):
    image = png()
    cells = gateway_pb2.ClassifyCellsRequest(cells=[gateway_pb2.LocatedCell(cell_id="c", image=image)])
    call = rolling.stub.ClassifyCells()
    await call.write(cells)
    assert versions(await call.read()) == "vit"
    file.says(vit={"stable": "vit-2"})
    assert await field_model(rolling) == "vit-2"
    await call.write(cells)
    assert versions(await call.read()) == "vit"
    await call.done_writing()


async def test_what_is_not_loaded_comes_last_in_the_list_and_says_so(rolling):
    rolling.classifier.asleep, rolling.classifier.told_asleep = ["a-network"], True
    models = (await rolling.stub.ListModels(gateway_pb2.ListModelsRequest())).models
    assert (models[-1].name, models[-1].on_request) == ("a-network", True)


def test_without_a_file_there_is_no_rollout():
    assert GatewaySettings().rollout is None


def assigned(world, **labels):
    return world.application.metrics.get_sample_value("hemaserve_rollout_assigned_total", labels)


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), (7, 7, 7)).save(buffer, "PNG")
    return buffer.getvalue()
