"""The contract's promises: the stubs are those of the protos, and what was released stays readable."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hemaserve.cells import CellType, Kind
from hemaserve.v1 import cells_pb2

ROOT = Path(__file__).parents[3]
BIN = Path(sys.executable).parent


def buf(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([BIN / "buf", *arguments], cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture
def contract(tmp_path: Path) -> Path:
    """A copy of the contract that a test may spoil."""
    for name in ("protos", "third_party"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "buf.yaml", tmp_path)
    return tmp_path


def test_the_committed_stubs_are_what_the_protos_generate(tmp_path: Path):
    protos = [str(path.relative_to(ROOT)) for path in (ROOT / "protos/hemaserve/v1").glob("*.proto")]
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I", "protos", "-I", "third_party"]
    plugins = [f"--plugin={name}={BIN / name}" for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")]
    outputs = [f"--{kind}_out={tmp_path}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
    subprocess.run([*command, *plugins, *outputs, *protos], cwd=ROOT, check=True, capture_output=True)

    generated = {path.name: path.read_text() for path in (tmp_path / "hemaserve/v1").iterdir()}
    committed = {path.name: path.read_text() for path in (ROOT / "hemaserve/v1").glob("*_pb2*.py*")}

    assert generated.keys() == committed.keys()
    assert [name for name in generated if generated[name] != committed[name]] == [], "run `make protos`"


def test_the_contract_is_lint_clean_and_compatible_with_the_last_release(contract: Path):
    assert buf("lint", cwd=contract).stdout == ""
    assert buf("breaking", "protos", "--against", "protos/released.binpb", cwd=contract).stdout == ""


def test_taking_a_field_away_is_noticed(contract: Path):
    cells = contract / "protos/hemaserve/v1/cells.proto"
    cells.write_text(cells.read_text().replace("  float score = 4;", ""))

    broken = buf("breaking", "protos", "--against", "protos/released.binpb", cwd=contract)

    assert broken.returncode != 0
    assert "score" in broken.stdout


def test_a_field_without_a_comment_is_noticed(contract: Path):
    cells = contract / "protos/hemaserve/v1/cells.proto"
    cells.write_text(cells.read_text().replace("  // Where it is.\n", ""))

    assert "comment" in buf("lint", cwd=contract).stdout


def test_the_contract_and_the_domain_know_the_same_types_and_kinds():
    types = {name.removeprefix("CELL_TYPE_").lower() for name, _ in cells_pb2.CellType.items()}
    kinds = {name.removeprefix("CELL_KIND_").lower() for name, _ in cells_pb2.CellKind.items()}

    assert types - {"unspecified"} == {cell_type.value for cell_type in CellType}
    assert kinds - {"unspecified"} == {kind.value for kind in Kind}
