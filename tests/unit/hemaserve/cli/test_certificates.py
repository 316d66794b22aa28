"""`hemaserve certificates`, and the options by which the other commands connect with TLS."""

import sys

import pytest
from typer.testing import CliRunner

from hemaserve.cli import app
from hemaserve.cli.exits import ExitCode


@pytest.fixture
def run():
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


def test_it_makes_them_and_says_what_to_do_next(run, tmp_path):
    done = run("certificates", tmp_path / "tls", "--client", "analyzer-1")
    assert done.exit_code == ExitCode.OK
    assert f"hemaserve up --tls {tmp_path / 'tls'}" in done.output
    assert f"--tls-cert {tmp_path / 'tls' / 'analyzer-1.crt'}" in done.output
    assert (tmp_path / "tls" / "analyzer-1.key").is_file()


def test_a_second_time_it_says_how_to_renew(run, tmp_path):
    assert run("certificates", tmp_path).exit_code == ExitCode.OK
    again = run("certificates", tmp_path)
    assert (again.exit_code, "--renew" in again.output) == (ExitCode.USAGE, True)
    assert run("certificates", tmp_path, "--renew").exit_code == ExitCode.OK
    assert run("certificates", tmp_path, "--force").exit_code == ExitCode.OK


@pytest.mark.parametrize(
    "words",
    [
        ("--client", "gateway"),
        ("--client", "../x"),
        ("--client", "ca"),
        ("--host", "not a host"),
        ("--days", "0"),
        ("--renew", "--force"),
        ("--renew",),
    ],
)
def test_what_cannot_be_is_refused(run, tmp_path, words):
    assert run("certificates", tmp_path / "tls", *words).exit_code == ExitCode.USAGE
    assert not (tmp_path / "tls").exists()


def test_without_the_package_it_says_how_to_install_it(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cryptography", None)
    monkeypatch.delitem(sys.modules, "hemaserve.certificates", raising=False)
    done = run("certificates", tmp_path)
    assert (done.exit_code, "pip install 'hemaserve[services]'" in done.output) == (ExitCode.USAGE, True)


@pytest.mark.parametrize("command", ["analyze", "adapt", "profiles", "models", "health"])
def test_every_command_that_calls_a_stack_can_do_so_with_tls(run, command):
    shown = run(command, "--help").output
    assert all(option in shown for option in ("--tls-ca", "--tls-cert", "--tls-key"))


@pytest.mark.parametrize("command", ["cells", "detections", "fields", "screen", "explanations"])
def test_so_can_every_evaluation(run, command):
    assert "--tls-ca" in run("evaluate", command, "--help").output


def test_files_that_cannot_be_used_are_wrong_arguments(run, tmp_path):
    run("certificates", tmp_path)
    ca, cert, key = (tmp_path / name for name in ("ca.crt", "client.crt", "client.key"))
    for words, said in (
        (("--tls-ca", tmp_path / "absent"), "absent"),
        (("--tls-ca", key), "holds no certificate"),
        (("--tls-ca", ca, "--tls-cert", cert), "go together"),
        (("--tls-ca", ca, "--tls-cert", cert, "--tls-key", tmp_path / "stack.key"), "is not the one of"),
        (("--tls-ca", ca, "--tls-cert", ca, "--tls-key", ca), "do not hold"),
    ):
        done = run("health", *words)
        assert (done.exit_code, said in " ".join(done.output.replace("│", " ").split())) == (
            ExitCode.USAGE,
            True,
        ), done.output
