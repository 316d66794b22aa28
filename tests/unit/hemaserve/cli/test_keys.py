"""`hemaserve keys`: made, shown once, listed without it, revoked."""

import json
import stat

import pytest
from typer.testing import CliRunner

from hemaserve.access import Quota, Role
from hemaserve.access.editing import read
from hemaserve.access.keys import digest, key_id_of
from hemaserve.cli import app
from hemaserve.cli.exits import ExitCode


@pytest.fixture
def path(tmp_path):
    return tmp_path / "access.json"


@pytest.fixture
def run(path):
    return lambda *words: CliRunner().invoke(app, ["keys", *words, "--file", str(path)])


def test_a_key_is_all_of_the_output_and_works(run, path):
    result = run(
        "add", "analyzer-3", "--role", "analyze", "--fields-per-minute", "120", "--certificate", "a3.lab"
    )
    assert result.exit_code == ExitCode.OK
    key = result.stdout.strip()
    (client,) = read(path).clients
    assert client.keys[0].sha256 == digest(key)
    assert (client.roles, client.quota, client.certificates) == (
        {Role.ANALYZE},
        Quota(fields=120),
        ("a3.lab",),
    )
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_list_has_every_key_with_its_state_and_no_key_itself(run):
    keys = [
        run("add", "lab", "--role", "review").stdout.strip(),
        run("add", "lab", "--expires-in-days", "1").stdout.strip(),
    ]
    assert run("revoke", key_id_of(keys[0])).exit_code == ExitCode.OK
    rows = json.loads(run("list", "--json").stdout)
    assert [(row["id"], row["state"]) for row in rows] == [
        (key_id_of(keys[0]), "revoked"),
        (key_id_of(keys[1]), "good"),
    ]
    shown = run("list").stdout
    assert key_id_of(keys[1]) in shown
    assert not [key for key in keys if key in shown]


def test_revoking_a_client_revokes_all_it_has(run):
    for _ in range(2):
        run("add", "lab", "--role", "review", "--certificate", "lab.example")
    assert run("revoke", "lab").exit_code == ExitCode.OK
    rows = json.loads(run("list", "--json").stdout)
    assert [row["state"] for row in rows] == ["revoked", "revoked"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("add", "Lab", "--role", "analyze"), "Lab"),
        (("add", "lab"), "needs a role"),
        (("add", "lab", "--role", "admin"), "admin"),
        (("add", "lab", "--role", "analyze", "--expires-in-days", "0"), "expires-in-days"),
        (("add", "lab", "--role", "analyze", "--requests-per-minute", "0"), "requests-per-minute"),
        (("revoke", "nobody"), "nobody"),
        (("list",), "No such file"),
    ],
)
def test_what_is_wrong_is_a_usage_error_and_changes_nothing(run, path, words, said):
    result = run(*words)
    assert result.exit_code == ExitCode.USAGE
    assert said in result.output
    assert not path.exists()


def test_a_broken_file_is_said_and_left_alone(run, path):
    path.write_text("{")
    result = run("add", "lab", "--role", "analyze")
    assert result.exit_code == ExitCode.USAGE
    assert "not JSON" in result.output
    assert path.read_text() == "{"


def test_every_command_explains_itself():
    for command in ("add", "list", "revoke"):
        result = CliRunner().invoke(app, ["keys", command, "--help"])
        assert "Examples" in result.output
        assert f"hemaserve keys {command}" in result.output
