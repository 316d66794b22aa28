"""A second version of a classifier beside the first, live: a share of the smears, a shadow, promotion and roll-back."""

import asyncio
import json
import re
import urllib.request
from collections import Counter
from pathlib import Path

import pytest

from hemaserve import synthetic
from hemaserve.cli.exits import ExitCode
from hemaserve.client import Client
from hemaserve.doctor.findings import Check
from services.gateway.rollout import Rollout, Rollouts

from .conftest import run_command, running_stack, wait_until
from .versions import CANDIDATE, DETECTOR, MODEL, SWAPPED, exchanged, with_two_versions

pytestmark = pytest.mark.e2e

FIELDS = 2


class File:
    """The rollout file, edited as an operator does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.says()

    def says(self, **rollout: object) -> None:
        models = {MODEL: rollout} if rollout else {}
        partial = self.path.with_suffix(".new")
        partial.write_text(json.dumps({"format": "hemaserve.rollout.v1", "models": models}))
        partial.replace(self.path)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return File(tmp_path_factory.mktemp("rollout") / "rollout.json")


@pytest.fixture(scope="module")
def rolling(tmp_path_factory, file):
    folder = tmp_path_factory.mktemp("versions")
    words = ("--profile", "tiny", "--models", f"{MODEL},{CANDIDATE},{DETECTOR}", "--rollout", file.path)
    with running_stack(folder, *words, "--model-repository", with_two_versions(folder)) as running:
        yield running


@pytest.fixture(scope="module")
def images():
    return [synthetic.encode_png(synthetic.generate_field(seed).image) for seed in range(FIELDS)]


@pytest.fixture
async def client(rolling):
    async with Client(rolling.address) as client:
        yield client


def signals(rolling, service, name):
    """The samples of a counter, by their labels' values in order of the labels' names."""
    address = rolling.state()["services"][service]["metrics_address"]
    with urllib.request.urlopen(f"http://{address}/metrics") as response:
        lines = re.findall(rf"^{name}{{(.*)}} (\S+)$", response.read().decode(), re.MULTILINE)
    samples = {
        tuple(v for _, v in sorted(re.findall(r'(\w+)="([^"]*)"', labels))): float(n) for labels, n in lines
    }
    return Counter({values: int(number) for values, number in samples.items() if number})


def answers(result):
    """Which version answered, and for each cell of each field what it was called."""
    (source,) = {field.provenance.classifier.name for field in result.fields}
    cells = [
        (cell.classification.identified, cell.classification.type.value)
        for field in result.fields
        for cell in field.cells
    ]
    return source, cells


def swapped(cells):
    return [(identified, exchanged(cell_type)) for identified, cell_type in cells]


async def test_thirty_percent_of_the_smears_go_to_version_two_each_smear_to_one(
    rolling, file, client, images
):
    (image, *_) = images
    _, by_first = answers(await client.analyze_smear([image], model=MODEL))
    file.says(candidate=CANDIDATE, share=0.3)
    expected = Rollouts({MODEL: Rollout(candidate=CANDIDATE, share=0.3)})
    names = [f"specimen-{number}" for number in range(10)]
    told = {MODEL: by_first, CANDIDATE: swapped(by_first)}
    assert told[MODEL] != told[CANDIDATE]
    given = Counter()
    for name in names:
        version, cells = answers(await client.analyze_smear([image], smear_id="s", specimen=name))
        assert version == expected.assigned(MODEL, name).model
        assert cells == told[version]
        given[version] += 1
    assert given == {MODEL: 7, CANDIDATE: 3}
    assigned = signals(rolling, "gateway", "hemaserve_rollout_assigned_total")
    assert assigned[MODEL, "candidate", CANDIDATE] == 3


async def test_a_shadow_is_compared_with_every_answer_and_returned_to_nobody(rolling, file, client, images):
    file.says(candidate=CANDIDATE, shadow_share=1.0)
    before = {
        name: signals(rolling, "classifier", f"hemaserve_shadow_cells_{name}_total")
        for name in ("compared", "disagreed")
    }
    cells = []
    for image in images:
        result = await client.analyze_field(image)
        assert result.provenance.classifier.name == MODEL
        cells += [(cell.identified, cell.classification.type.value) for cell in result.cells]

    def compared():
        found = signals(rolling, "classifier", "hemaserve_shadow_cells_compared_total") - before["compared"]
        return found if found.total() == len(cells) else None

    found = wait_until(compared, "all cells are compared")
    named = [cell_type for identified, cell_type in cells if identified]
    assert found == +Counter(
        {
            ("type_differs", MODEL): sum(cell_type in SWAPPED for cell_type in named),
            ("same_type", MODEL): sum(cell_type not in SWAPPED for cell_type in named),
            ("both_unidentified", MODEL): len(cells) - len(named),
        }
    )
    assert found["type_differs", MODEL]
    disagreed = signals(rolling, "classifier", "hemaserve_shadow_cells_disagreed_total") - before["disagreed"]
    assert disagreed == Counter((MODEL, kind, exchanged(kind)) for kind in named if kind in SWAPPED)
    assert not signals(rolling, "classifier", "hemaserve_shadow_cells_dropped_total")
    times = signals(rolling, "classifier", "hemaserve_shadow_cell_seconds_count")
    assert times["model", MODEL] and times["shadow", MODEL]  # noqa: PT018 - both


async def test_promotion_and_roll_back_fail_and_mix_nothing(rolling, file, client, images):
    file.says()
    _, by_first = answers(await client.analyze_smear(images))
    told = {MODEL: by_first, CANDIDATE: swapped(by_first)}
    pids = {name: service["pid"] for name, service in rolling.state()["services"].items()}
    seen = []

    async def load():
        while True:
            version, cells = answers(await client.analyze_smear(images))
            assert cells == told[version]
            seen.append(version)

    async def answered_by(version):
        count = len(seen)
        while version not in seen[count:]:
            assert not any(task.done() for task in tasks)
            await asyncio.sleep(0.01)

    tasks = [asyncio.create_task(load()) for _ in range(2)]
    async with asyncio.timeout(60):
        for stable in (MODEL, CANDIDATE, MODEL):
            file.says(stable=stable)
            await answered_by(stable)
            (rollout,) = [model.rollout for model in await client.list_models() if model.rollout]
            assert (rollout.stable, rollout.missing) == (stable, ())
    for task in tasks:
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ended), ended
    assert {name: service["pid"] for name, service in rolling.state()["services"].items()} == pids


async def test_an_operator_sees_the_versions_and_their_shares(rolling, file, tmp_path):
    file.says(candidate=CANDIDATE, share=0.25, shadow_share=1.0)
    shown = run_command(rolling, tmp_path, "models").stdout
    words = " ".join(shown.split())
    assert "0.75 of" in words
    assert "0.25 of" in words
    assert "shadow of 1" in words


def test_the_doctor_finds_such_a_stack_well_and_knows_whose_network_it_is_not(rolling, file, tmp_path):
    file.says(candidate=CANDIDATE, share=0.25)
    metrics = rolling.state()["services"]["gateway"]["metrics_address"]
    words = (rolling.address, "--metrics", f"http://{metrics}/metrics", "--closed", "127.0.0.1:1", "--json")
    done = run_command(rolling, tmp_path, "doctor", *words)
    findings = json.loads(done.stdout)["findings"]
    assert done.returncode == ExitCode.OK, findings
    noted = {finding["check"] for finding in findings if finding["state"] != "well"} - {"time"}
    assert noted == {"models"}
    assert {finding["check"] for finding in findings} == {check.value for check in Check}
    assert any(CANDIDATE in finding["what"] for finding in findings if finding["state"] == "note")
