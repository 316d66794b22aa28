"""A repository is what its configurations say, or every file that is not is named."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from services.triton.backends.onnxruntime import onnx_config
from services.triton.verify import main, models, problems

ROOT = Path(__file__).parents[4]
NETWORK = b"the weights of a network"
DIGEST = hashlib.sha256(NETWORK).hexdigest()


def config(name: str, digest: str | None = DIGEST, more: str = 'backend: "onnxruntime"') -> str:
    said = f'parameters {{ key: "sha256" value {{ string_value: "{digest}" }} }}' if digest else ""
    return f'name: "{name}"\n{more}\n{said}\n'


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two networks and an ensemble over one of them."""
    for name in ("one", "two"):
        (tmp_path / name / "1").mkdir(parents=True)
        (tmp_path / name / "configs").mkdir()
        (tmp_path / name / "1" / "model.onnx").write_bytes(NETWORK)
        (tmp_path / name / "config.pbtxt").write_text(config(name))
        (tmp_path / name / "configs" / "cpu.pbtxt").write_text(config(name))
    (tmp_path / "whole" / "1").mkdir(parents=True)
    (tmp_path / "whole" / "1" / ".gitkeep").touch()
    steps = 'platform: "ensemble"\nensemble_scheduling { step [ { model_name: "one" } ] }'
    (tmp_path / "whole" / "config.pbtxt").write_text(config("whole", more=steps))
    return tmp_path


def wrong(repository: Path) -> list[str]:
    return [problem for model in models(repository) for problem in problems(model)]


def test_a_repository_that_is_what_it_says_passes(repository: Path, capsys):
    assert main([str(repository)]) == 0
    assert capsys.readouterr().out == "3 models are what their configurations say\n"


def test_the_committed_repository_passes():
    done = subprocess.run(
        [sys.executable, "-m", "services.triton.verify", ROOT / "model_repository"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_one_flipped_bit_is_named_with_what_was_expected_and_found(repository: Path, capsys):
    file = repository / "two" / "1" / "model.onnx"
    file.write_bytes(bytes([NETWORK[0] ^ 1]) + NETWORK[1:])
    found = hashlib.sha256(file.read_bytes()).hexdigest()

    assert main([str(repository)]) == 1
    assert capsys.readouterr().err == f"error: two/1/model.onnx: expected SHA-256 {DIGEST}, found {found}\n"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda root: (root / "one/1/model.onnx").unlink(), "one/1/model.onnx: missing"),
        (lambda root: (root / "one/1/model.py").write_text("pass"), "one/1/model.py: no digest covers it"),
        (
            lambda root: (root / "whole/1/model.onnx").write_bytes(b""),
            "whole/1/model.onnx: no digest covers it",
        ),
        (
            lambda root: (root / "one/configs/cpu.pbtxt").write_text(config("one", "0" * 64)),
            "one: its configurations name different digests",
        ),
        (
            lambda root: [path.write_text(config("two", None)) for path in (root / "two").rglob("*.pbtxt")],
            "two: its configuration has no parameter sha256",
        ),
        (
            lambda root: (root / "one/config.pbtxt").write_text("name:"),
            "one: its configuration cannot be read",
        ),
        (
            lambda root: (root / "whole/config.pbtxt").write_text(
                (root / "whole/config.pbtxt").read_text().replace(DIGEST, "0" * 64)
            ),
            "whole: none of its steps has the digest that it names",
        ),
        (
            lambda root: (root / "whole/config.pbtxt").write_text(
                (root / "whole/config.pbtxt").read_text().replace('"one"', '"gone"')
            ),
            "whole: its steps gone are not in the repository",
        ),
        (lambda root: (root / "new").mkdir(), "new: has no configuration, and so no digest"),
    ],
)
def test_whatever_is_not_covered_is_named(repository: Path, spoil, said: str):
    spoil(repository)
    assert [problem for problem in wrong(repository) if problem.startswith(said)]


@pytest.mark.parametrize("arguments", [[], ["no such folder"], ["a", "b"]])
def test_nothing_to_verify_is_not_success(arguments: list[str]):
    assert main(arguments) == 2


def test_a_folder_without_models_is_not_success(tmp_path: Path):
    assert main([str(tmp_path)]) == 2


def test_the_backend_takes_only_the_file_that_its_configuration_names(repository: Path):
    file = repository / "one" / "1" / "model.onnx"
    named = {"name": "one", "parameters": {"sha256": {"string_value": DIGEST}}}
    onnx_config.check_digest(named, file)
    onnx_config.check_digest({"name": "one"}, file)

    file.write_bytes(NETWORK + b".")

    with pytest.raises(onnx_config.ConfigError, match=rf"expected SHA-256 {DIGEST}, found \w{{64}}"):
        onnx_config.check_digest(named, file)
    onnx_config.check_digest({"name": "one"}, file)
