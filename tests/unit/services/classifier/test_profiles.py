"""Site profiles in a folder: found by name, noticed when they change, and never a way to other files."""

import hashlib
import json
import os
from datetime import UTC, datetime

import numpy as np
import pytest
import structlog

from hemaserve.errors import InvalidArgument
from hemaserve.site_profile import IDENTITY, MAX_BYTES, ColourCorrection, SiteProfile, to_json
from services.classifier.profiles import SiteProfiles

DARKER = ColourCorrection(IDENTITY.matrix, (0.5, 0.5, 0.5))
LIGHTER = ColourCorrection(IDENTITY.matrix, (-0.5, -0.5, -0.5))


def text(name, correction=DARKER):
    return to_json(SiteProfile(name, datetime(2026, 11, 21, tzinfo=UTC), 10, 40, correction))


@pytest.fixture
def put(tmp_path):
    def put(name, content=None):
        path = tmp_path / f"{name}.json"
        # As `hemaserve adapt` does it: another file in the place of the old one.
        partial = tmp_path / "partial"
        partial.write_text(text(name) if content is None else content)
        partial.replace(path)
        return path

    return put


@pytest.fixture
def profiles(tmp_path):
    return SiteProfiles(tmp_path)


def refusal(profiles, name):
    with pytest.raises(InvalidArgument) as caught:
        profiles.get(name)
    assert caught.value.field == "site_profile"
    return caught.value


def test_a_profile_is_found_by_name_with_the_digest_of_its_file(profiles, put):
    path = put("a-lab")
    found = profiles.get("a-lab")
    assert found.profile.correction == DARKER
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_it_corrects_crops_and_leaves_the_ones_given_as_they_are(profiles, put):
    put("a-lab")
    crops = np.full((2, 4, 4, 3), 200, np.uint8)
    assert profiles.get("a-lab").correct(crops).max() < 130
    assert crops.min() == 200


def test_new_changed_and_removed_files_are_noticed(profiles, put):
    refusal(profiles, "a-lab")
    path = put("a-lab")
    first = profiles.get("a-lab")
    assert profiles.get("a-lab") is first
    put("a-lab", text("a-lab", LIGHTER))
    assert profiles.get("a-lab").profile.correction == LIGHTER
    assert profiles.get("a-lab").sha256 != first.sha256
    path.unlink()
    assert refusal(profiles, "a-lab").reason == "SITE_PROFILE_NOT_FOUND"


def test_an_unknown_name_is_refused_with_those_there_are(profiles, put):
    put("b-lab")
    put("a-lab")
    error = refusal(profiles, "c-lab")
    assert (error.reason, error.allowed) == ("SITE_PROFILE_NOT_FOUND", "a-lab, b-lab")
    assert "'c-lab'" in error.value


def test_without_any_profiles_that_is_said(tmp_path):
    absent = SiteProfiles(tmp_path / "absent")
    assert "no site profiles" in refusal(absent, "a-lab").allowed
    assert absent.all() == []


@pytest.mark.parametrize(
    "name", ["", "../secret", "/etc/passwd", "a/../../secret", "..", "a\0b", "A", "x" * 65, "ä"]
)
def test_a_name_is_never_a_path(tmp_path, name):
    (tmp_path / "secret.json").write_text(text("secret"))
    folder = tmp_path / "profiles"
    folder.mkdir()
    error = refusal(SiteProfiles(folder), name)
    assert error.reason == "SITE_PROFILE_NAME"
    assert not name or name not in error.message


@pytest.mark.parametrize(
    "content",
    ["", "not json", "{}", "[" * 10_000, " " * (MAX_BYTES + 1), text("another-lab")],
    ids=["empty", "text", "object", "deep", "long", "renamed"],
)
def test_a_bad_file_is_refused_clearly_and_logged_once(profiles, put, content):
    put("bad", content)
    put("good")
    with structlog.testing.capture_logs() as logs:
        errors = [refusal(profiles, "bad") for _ in range(3)]
        listed = [stored.profile.name for stored in profiles.all()]
    assert {error.reason for error in errors} == {"SITE_PROFILE_UNUSABLE"}
    assert all("cannot be used" in error.value and error.allowed == "good" for error in errors)
    assert [log["event"] for log in logs] == ["site_profile_unusable"]
    assert listed == ["good"]


def test_a_bad_file_that_is_mended_serves(profiles, put):
    put("a-lab", "nonsense")
    refusal(profiles, "a-lab")
    put("a-lab")
    assert profiles.get("a-lab") is not None


def test_what_is_no_plain_file_is_none(profiles, tmp_path):
    (tmp_path / "folder.json").mkdir()
    os.mkfifo(tmp_path / "pipe.json")
    for name in ("folder", "pipe"):
        assert refusal(profiles, name).reason == "SITE_PROFILE_NOT_FOUND"
    assert profiles.all() == []


def test_all_are_listed_by_name_and_other_files_are_none(profiles, put, tmp_path):
    put("b")
    put("a")
    (tmp_path / "a.png").write_bytes(b"picture")
    (tmp_path / "README.json").write_text(json.dumps({}))
    assert [stored.profile.name for stored in profiles.all()] == ["a", "b"]


def test_of_very_many_names_some_are_told(profiles, put):
    for number in range(30):
        put(f"lab-{number:02}")
    assert refusal(profiles, "x").allowed.endswith("lab-19, ...")
