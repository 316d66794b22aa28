"""Known vulnerabilities are told, and "none" is never said where nothing was looked up."""

import json
from pathlib import Path

import pytest

LOCK = "jinja2==3.1.6 \\\n    --hash=sha256:00\nnumpy==1.26.4 \\\n    --hash=sha256:11\n"


@pytest.fixture
def audit(script):
    return script("audit")


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "lock.txt"
    path.write_text(LOCK)
    return path


def advisory(folder: Path, name: str, package: str, events: list[dict], **more) -> None:
    affected = {
        "package": {"ecosystem": "PyPI", "name": package},
        "ranges": [{"type": "ECOSYSTEM", "events": events}],
    }
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps({"id": name, "affected": [affected], **more}))


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Advisories that know the canary, and nothing of what is locked."""
    folder = tmp_path / "advisories"
    advisory(folder, "PYSEC-2019-217", "Jinja2", [{"introduced": "0"}, {"fixed": "2.10.1"}])
    return folder


def test_a_lock_that_no_advisory_is_about_is_clean(audit, lock, database, capsys):
    assert audit.main([str(lock), "--database", str(database)]) == audit.CLEAN
    assert "2 of 2 packages were looked up" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("events", "more", "status"),
    [
        ([{"introduced": "0"}], {}, 1),
        ([{"introduced": "1.20"}, {"fixed": "1.26.4"}], {}, 0),
        ([{"introduced": "1.26.4"}, {"fixed": "1.27"}], {}, 1),
        ([{"introduced": "1.27"}], {}, 0),
        ([{"introduced": "1.0"}, {"last_affected": "1.26.4"}], {}, 1),
        ([{"introduced": "1.0"}, {"last_affected": "1.26.3"}], {}, 0),
        ([{"introduced": "0"}, {"fixed": "1.1"}, {"introduced": "1.26"}, {"fixed": "1.26.9"}], {}, 1),
        ([{"introduced": "0"}], {"withdrawn": "2026-01-01T00:00:00Z"}, 0),
    ],
)
def test_a_version_is_vulnerable_from_where_it_began_to_where_it_was_mended(
    audit, lock, database, capsys, events, more, status
):
    advisory(database, "PYSEC-1", "NumPy", events, **more)

    assert audit.main([str(lock), "--database", str(database)]) == status
    assert ("VULNERABLE: numpy 1.26.4: PYSEC-1" in capsys.readouterr().out) == bool(status)


def test_versions_that_are_listed_are_vulnerable(audit, lock, database):
    affected = {"package": {"ecosystem": "PyPI", "name": "numpy"}, "versions": ["1.26.4"]}
    (database / "listed.json").write_text(json.dumps({"id": "PYSEC-2", "affected": [affected]}))

    assert audit.main([str(lock), "--database", str(database)]) == audit.VULNERABLE


def test_a_folder_that_knows_nothing_checks_nothing(audit, lock, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert audit.main([str(lock), "--database", str(tmp_path / "empty")]) == audit.NOT_CHECKED
    advisory(tmp_path / "others", "PYSEC-3", "somethingelse", [{"introduced": "0"}])
    assert audit.main([str(lock), "--database", str(tmp_path / "others")]) == audit.NOT_CHECKED
    assert capsys.readouterr().out.count("NOTHING WAS CHECKED") == 2


def test_no_database_to_be_reached_is_not_success(audit, lock, capsys, monkeypatch):
    """As `pip-audit` has it, packages that it could not look up have no vulnerabilities, and all is well."""
    said = {"dependencies": [{"name": name, "skip_reason": "not found"} for name in ("jinja2", "numpy")]}
    monkeypatch.setattr(audit, "ask_online", lambda wanted: audit.of_report(said, wanted))

    assert audit.main([str(lock)]) == audit.NOT_CHECKED
    assert "NOTHING WAS CHECKED" in capsys.readouterr().out


def test_a_package_that_could_not_be_looked_up_is_named_and_no_success(audit, lock, capsys, monkeypatch):
    known = [{"name": "jinja2", "version": "2.10", "vulns": [{"id": "PYSEC-2019-217"}]}]
    known += [{"name": "jinja2", "version": "3.1.6", "vulns": []}]
    monkeypatch.setattr(audit, "ask_online", lambda wanted: audit.of_report({"dependencies": known}, wanted))

    assert audit.main([str(lock)]) == audit.NOT_CHECKED
    assert "not checked: numpy 1.26.4" in capsys.readouterr().out


def test_the_locks_of_the_images_are_those_that_are_audited(audit):
    assert {path.stem for path in audit.LOCKS} == {"gateway", "networks", "triton"}
    assert len({pin for path in audit.LOCKS for pin in audit.pins(path.read_text())}) > 50
