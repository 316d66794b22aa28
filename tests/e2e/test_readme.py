"""What the README tells people to type."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hemaserve import synthetic
from hemaserve.cells import CellType
from hemaserve.cli import app

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
COMMANDS = re.findall(r"^(?:\.venv/bin/)?hemaserve ([^#\n]+)", README, re.MULTILINE)
TARGETS = set(re.findall(r"^make ([a-z]+)", README, re.MULTILINE))


def code(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_python_example_runs_and_prints_cells_and_shares(stack, tmp_path):
    (example,) = code("python")
    field = synthetic.generate_field(5, white_cells=[CellType.LYMPHOCYTE, CellType.EOSINOPHIL])
    (tmp_path / "field.png").write_bytes(synthetic.encode_png(field.image))
    example = example.replace("127.0.0.1:50051", stack.address)

    done = subprocess.run(
        [sys.executable, "-c", example],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^\w+ \d+% at \(", done.stdout, re.MULTILINE)) >= 2
    assert re.search(r"^lymphocyte \d+", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_and_option_exists(line: str):
    words = line.split()
    command = words[:2] if words[0] in ("evaluate", "keys") else words[:1]
    options = {word for word in words if word.startswith("--")}

    shown = CliRunner(env={"COLUMNS": "200"}).invoke(app, [*command, "--help"])

    assert shown.exit_code == 0
    assert not [option for option in options if option not in shown.output]


@pytest.mark.parametrize("target", sorted(TARGETS | {"up", "lint", "protos", "bench"}))
def test_every_make_target_exists(target: str):
    done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def test_the_demo_and_the_tests_are_one_command_each():
    assert {"make demo\n", "make test\n"} <= set(code("sh"))


def test_every_link_in_the_documentation_leads_somewhere():
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "training").glob("*.md")]
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
        if "://" not in target and not (page.parent / target).exists()
    ]

    assert broken == []
