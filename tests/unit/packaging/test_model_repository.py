"""What is in model_repository/: every network is the one that its configuration names, and small enough to keep."""

import hashlib
import re
from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from hemaserve.cells import CellType, Kind
from hemaserve.doctor.models import committed
from hemaserve.unshipped import UNSHIPPED
from services.triton.naming import task_by_name
from training.triton_config import RECEIPT, VARIANTS, batching

REPOSITORY = Path(__file__).parents[3] / "model_repository"
MODELS = sorted(path.name for path in REPOSITORY.iterdir() if path.is_dir())
CONFIGS = [(model, path) for model in MODELS for path in sorted((REPOSITORY / model).rglob("*.pbtxt"))]


def read(path: Path) -> model_config_pb2.ModelConfig:
    return text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())


def parameters(config: model_config_pb2.ModelConfig) -> dict[str, str]:
    return {key: value.string_value for key, value in config.parameters.items()}


@pytest.mark.parametrize(("model", "path"), CONFIGS, ids=lambda value: str(getattr(value, "stem", value)))
def test_every_configuration_is_one_that_triton_reads_and_names_its_folder(model: str, path: Path):
    config = read(path)

    assert config.name == model
    assert bool(config.backend) != bool(config.platform)


@pytest.mark.parametrize(("model", "path"), CONFIGS, ids=lambda value: str(getattr(value, "stem", value)))
def test_every_network_queues_as_the_exporter_says(model: str, path: Path):
    del model
    config = read(path)
    if config.platform == "ensemble":
        return

    delay = config.dynamic_batching.max_queue_delay_microseconds

    assert batching(delay) in path.read_text().splitlines()


@pytest.mark.parametrize("model", MODELS)
def test_all_configurations_of_a_model_differ_only_in_how_it_is_run(model: str):
    plain = read(REPOSITORY / model / "config.pbtxt")
    for path in (REPOSITORY / model / "configs").glob("*.pbtxt"):
        other = read(path)
        receipts = {name for name, variant in VARIANTS.items() if variant.receipts}
        outputs = list(plain.output)
        assert list(other.input) == list(plain.input)
        assert list(other.output)[: len(outputs)] == outputs
        more = {tensor.name for tensor in list(other.output)[len(outputs) :]}
        assert any(name.endswith(RECEIPT) for name in more) == (path.stem in receipts)
        assert 0 < other.max_batch_size <= plain.max_batch_size
        how = {"intra_op_thread_count", "inter_op_thread_count", "runtime", "precision", "enable_mem_arena"}
        said, plainly = parameters(other), parameters(plain)
        assert {key: said[key] for key in said.keys() - how} == {
            key: plainly[key] for key in plainly.keys() - how
        }


@pytest.mark.parametrize("model", MODELS)
def test_every_model_has_every_variant(model: str):
    assert {path.stem for path in (REPOSITORY / model / "configs").iterdir()} == set(VARIANTS)


def test_networks_said_not_to_be_shipped_are_not_here():
    assert UNSHIPPED.keys().isdisjoint(MODELS)


@pytest.mark.parametrize(
    "model", [model for model in MODELS if (REPOSITORY / model / "1/model.onnx").exists()]
)
def test_the_digest_in_the_configuration_is_that_of_the_file(model: str):
    digest = hashlib.sha256((REPOSITORY / model / "1/model.onnx").read_bytes()).hexdigest()

    assert parameters(read(REPOSITORY / model / "config.pbtxt"))["sha256"] == digest
    assert digest in (REPOSITORY / model / "README.md").read_text()


@pytest.mark.parametrize("model", MODELS)
def test_every_model_has_a_card_and_what_it_links_to_is_there(model: str):
    folder = REPOSITORY / model
    links = re.findall(r"\]\(([^)#]+)", (folder / "README.md").read_text())

    missing = [link for link in links if "://" not in link and not (folder / link).exists()]

    assert missing == []


@pytest.mark.parametrize("model", MODELS)
def test_the_types_and_kinds_of_a_model_are_ones_that_we_know(model: str):
    said = parameters(read(REPOSITORY / model / "config.pbtxt"))

    leaf_types = re.findall(r"\w+", said.get("leaf_types", ""))
    kinds = re.findall(r"\w+", said.get("kinds", ""))

    assert set(leaf_types) <= {cell_type.value for cell_type in CellType}
    assert set(kinds) <= {kind.value for kind in Kind}
    assert said["task"] in {"detection", "classification", "vote", "screen_field", "screen_cell"}


def test_the_repository_stays_small_enough_for_git():
    sizes = [path.stat().st_size for path in REPOSITORY.rglob("*") if path.is_file()]

    assert max(sizes) < 45e6
    assert sum(sizes) < 160e6


def test_the_digests_that_clients_compare_with_are_those_of_the_repository():
    named = {model: parameters(read(REPOSITORY / model / "config.pbtxt")).get("sha256") for model in MODELS}
    expected = {model: digest for model, digest in named.items() if digest}

    assert committed() == expected, "write them with: python scripts/committed_models.py"


@pytest.mark.parametrize("model", MODELS)
def test_the_name_of_a_network_tells_its_task(model: str):
    """Of a network that is not loaded, its name is all there is to tell by."""
    task = parameters(read(REPOSITORY / model / "config.pbtxt"))["task"]

    assert task_by_name(model) == (None if task == "vote" else task)
