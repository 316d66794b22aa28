"""What peers are measured with is the same pipeline as ours: the same answers about the same fields."""

from pathlib import Path

import pytest

from benchmarks.apart import Apart
from benchmarks.peers import running
from benchmarks.peers.callers import GATEWAY, Target
from benchmarks.peers.catalogue import PEERS
from benchmarks.peers.checking import SHARES, agreement, answers
from benchmarks.peers.describing import describe
from benchmarks.peers.openvino_networks import OpenVinoNetworks
from benchmarks.peers.pipeline import Pipeline
from hemaserve import synthetic

REPOSITORY = Path(__file__).parents[2] / "model_repository"
FIELDS = 6


@pytest.fixture(scope="module")
def fields():
    """Of several sizes, so that they are looked at in one piece and in several."""
    sizes = [(640, 480), (400, 400), (1200, 900)]
    drawn = (
        synthetic.generate_field(i, width=sizes[i % 3][0], height=sizes[i % 3][1]) for i in range(FIELDS)
    )
    return [synthetic.encode_png(each.image) for each in drawn]


@pytest.fixture(scope="module")
def ours(stack, fields):
    return answers(Target(GATEWAY, stack.address), fields)


def pipeline():
    description = describe(REPOSITORY)
    return Pipeline(description, OpenVinoNetworks(description, threads=1)).analyze


def test_the_pipeline_in_one_process_answers_as_the_gateway_does(ours, fields):
    # Not in this one: OpenVINO 2026.4 leaves its thread an alternate signal stack that is gone when its CPU plugin is
    # unloaded, and the next signal that Python handles ends the process.
    with Apart(pipeline) as process:
        answered, _ = process.do(fields)
    found = agreement(ours, answered)
    assert found.cells >= 2 * FIELDS
    assert found.share <= SHARES["litserve"], found.disagreements


@pytest.mark.long  # Makes an environment with another framework, and starts it: nothing shorter shows that it runs.
@pytest.mark.parametrize("name", [name for name in PEERS if name != "flask_development"])
def test_a_peer_installs_starts_and_answers_as_the_gateway_does(name, ours, fields, tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.peers.catalogue.ENVIRONMENTS", tmp_path)
    monkeypatch.setattr(running, "ENVIRONMENTS", tmp_path)
    running.install(name)
    with running.peer(name) as peer:
        found = agreement(ours, answers(peer.target, fields))
        assert len(peer.processes()) >= PEERS[name].settings.processes
    assert found.share <= SHARES[name], found.disagreements
