"""A file that is edited while it is used."""

import pytest

from services.runtime.watched_file import WatchedFile


def number(path) -> int:
    return int(path.read_text())


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "number"
    path.write_text("1")
    return path


def replace(path, text):
    partial = path.with_suffix(".partial")
    partial.write_text(text)
    partial.replace(path)


def test_it_is_read_again_when_it_has_changed_and_only_then(path):
    reads = []

    def read(path):
        reads.append(path)
        return number(path)

    file = WatchedFile(path, read, name="number")
    assert (file.current, file.current, len(reads)) == (1, 1, 1)
    replace(path, "2")
    assert (file.current, file.current, len(reads)) == (2, 2, 2)


def test_what_it_said_holds_while_it_is_broken_or_away(path):
    states = []
    file = WatchedFile(path, number, name="number", on_state=states.append)
    replace(path, "two")
    assert file.current == 1
    path.unlink()
    assert file.current == 1
    replace(path, "3")
    assert file.current == 3
    assert states == [True, False, False, True]


def test_it_must_be_usable_at_the_start(tmp_path, path):
    with pytest.raises(FileNotFoundError):
        WatchedFile(tmp_path / "none", number, name="number")
    replace(path, "one")
    with pytest.raises(ValueError, match="one"):
        WatchedFile(path, number, name="number")
