"""The command's help and exit codes, where no stack is needed."""

import socket
import sys

import pytest
from typer.testing import CliRunner

from hemaserve.cli import app
from hemaserve.cli import stack as stack_process
from hemaserve.cli.exits import ExitCode

COMMANDS = [
    "up",
    "analyze",
    "adapt",
    "profiles",
    "demo",
    "models",
    "health",
    "certificates",
    "version",
    "evaluate",
    "keys",
]


@pytest.fixture
def run():
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def free_address():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "field.png"
    path.write_bytes(b"x")
    return path


def test_the_help_lists_every_command_and_the_exit_codes(run):
    result = run("--help")
    assert result.exit_code == ExitCode.OK
    assert all(command in result.output for command in COMMANDS)
    assert "Exit codes" in result.output
    assert "not a medical" in result.output


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(run, command):
    result = run(command, "--help")
    assert result.exit_code == ExitCode.OK
    if command not in ("version", "evaluate", "keys"):
        assert "Examples" in result.output
        assert f"hemaserve {command}" in result.output


@pytest.mark.parametrize(
    "words",
    [
        ("analyze",),
        ("analyze", "absent.png"),
        ("analyze", "IMAGE", "--target", "50"),
        ("analyze", "IMAGE", "--kinds", "wbc,blue"),
        ("analyze", "IMAGE", "--address", "nowhere"),
        ("demo", "--fields", "absent"),
        ("health", "--address", "127.0.0.1:99999"),
        ("nonsense",),
    ],
)
def test_wrong_arguments_are_usage_errors(run, image, words):
    result = run(*(image if word == "IMAGE" else word for word in words))
    assert result.exit_code == ExitCode.USAGE


@pytest.mark.parametrize("command", ["analyze", "models", "health"])
def test_no_stack_is_said_with_the_way_to_start_one(run, image, free_address, command):
    paths = [image] if command == "analyze" else []
    result = run(command, *paths, "--address", free_address)
    assert result.exit_code == ExitCode.UNREACHABLE
    assert f"no HemaServe answers at {free_address}" in result.output
    assert f"hemaserve up --address {free_address}" in result.output
    assert "Traceback" not in result.output


def test_version_names_the_distribution(run):
    result = run("version")
    assert result.exit_code == ExitCode.OK
    assert result.output.startswith("hemaserve ")


def test_up_becomes_the_stack_with_its_options(run, monkeypatch, tmp_path):
    became = []
    monkeypatch.setattr(stack_process.os, "execv", lambda path, words: became.append(words))
    run("up", "--address", "127.0.0.1:50099", "--log-dir", tmp_path, "--verbose")
    assert became == [
        [
            *(sys.executable, "-m", "services.stack"),
            *("--address", "127.0.0.1:50099", "--log-dir", str(tmp_path), "--verbose"),
        ]
    ]
