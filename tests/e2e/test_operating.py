"""What the operator's guide tells people to type, as far as it runs without a stack; and that the rest exists."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hemaserve.cli import app
from services.gateway.rollout import read
from services.runtime import signals
from services.stack.requirements import model_repository

from .versions import CANDIDATE, DETECTOR, MODEL

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "operating.md").read_text()
COMMANDS = re.findall(r"(?:^|`)hemaserve ([^#\n`]+)", GUIDE, re.MULTILINE)
GROUPS = ("evaluate", "keys")
TO_RUN = re.findall(r"<!-- run -->\n```sh\n(.*?)```", GUIDE, re.DOTALL)
FILES = re.findall(r"<!-- file: (\S+) -->\n```json\n(.*?)```", GUIDE, re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where an operator works: a repository, a new network, and the command on the path."""
    folder = tmp_path_factory.mktemp("operator")
    for name in (MODEL, DETECTOR):
        shutil.copytree(model_repository() / name, folder / "my-repository" / name)
    shutil.copytree(model_repository() / MODEL, folder / "new" / MODEL)
    (folder / "bin").mkdir()
    for name, module in (("hemaserve", "-m hemaserve.cli"), ("python", "")):
        script = folder / "bin" / name
        script.write_text(f'#!/bin/sh\nexec {sys.executable} {module} "$@"\n')
        script.chmod(0o755)
    (_, last) = FILES[-1]
    (folder / "rollout.json").write_text(last)
    return folder


def test_the_commands_run_in_the_order_of_the_guide(folder):
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    said = []
    for commands in TO_RUN:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands],
            cwd=folder,
            env=os.environ | {"PATH": path, "HOME": str(folder)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
    assert f"{len((MODEL, DETECTOR, CANDIDATE))} models are what their configurations say" in said[0]
    assert (folder / "tls" / "analyzer-3.key").exists()
    keys = json.loads((folder / "access.json").read_text())["clients"]["analyzer-3"]["keys"]
    assert [bool(key.get("revoked_at")) for key in keys] == [True, False]
    assert "tls/ca.key" in said[-1]


@pytest.mark.parametrize("number", range(len(FILES)))
def test_every_rollout_file_of_the_guide_is_one(tmp_path, number):
    name, content = FILES[number]
    (tmp_path / name).write_text(content)
    assert read(tmp_path / name).models.keys() == {MODEL}


def test_the_guide_goes_from_shadow_to_canary_to_promotion_and_back(tmp_path):
    stages = []
    for name, content in FILES:
        (tmp_path / name).write_text(content)
        rollouts = read(tmp_path / name)
        stages.append((rollouts.versions(MODEL)[0], rollouts.models[MODEL].share))
    assert stages == [(MODEL, 0.0), (MODEL, 0.05), (CANDIDATE, 0.0), (MODEL, 0.0)]


@pytest.mark.parametrize("line", sorted(set(COMMANDS)))
def test_every_command_and_option_exists(line):
    words = line.split()
    command = words[:2] if words[0] in GROUPS else words[:1]
    options = {word for word in words if word.startswith("--")}
    shown = CliRunner(env={"COLUMNS": "200"}).invoke(app, [*command, "--help"])
    assert shown.exit_code == 0
    assert not [option for option in options if option not in re.findall(r"--[a-z-]+", shown.output)]


def test_every_signal_that_the_guide_names_is_declared():
    declared = {metric.name for metric in signals.METRICS}
    named = set(re.findall(r"hemaserve_[a-z_]+", GUIDE))
    parts = {name: re.sub("_(sum|count|bucket)$", "", name) for name in named}
    assert {name for name, whole in parts.items() if not {name, whole} & declared} == set()
