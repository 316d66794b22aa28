"""Files, folders and patterns become image files."""

import pytest

from hemaserve.paths import NoImages, image_files, site_profiles_folder


@pytest.fixture
def folder(tmp_path):
    for name in (
        "field-10.PNG",
        "field-2.jpg",
        "field-1.tif",
        "notes.txt",
        "sub/field-3.png",
        "odd [1].webp",
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path


def names(files):
    return [file.name for file in files]


def test_a_folder_gives_its_images_in_natural_order_and_not_those_below(folder):
    assert names(image_files([folder])) == ["field-1.tif", "field-2.jpg", "field-10.PNG", "odd [1].webp"]


def test_a_pattern_gives_what_matches(folder):
    assert names(image_files([f"{folder}/field-*"])) == ["field-1.tif", "field-2.jpg", "field-10.PNG"]
    assert names(image_files([f"{folder}/**/*.png"])) == ["field-3.png"]


def test_a_file_is_taken_whatever_its_suffix(folder):
    assert names(image_files([folder / "notes.txt"])) == ["notes.txt"]


def test_a_name_with_pattern_characters_is_a_file_first(folder):
    assert names(image_files([folder / "odd [1].webp"])) == ["odd [1].webp"]


def test_the_order_given_is_kept_and_each_file_comes_once(folder):
    files = image_files([folder / "field-2.jpg", folder, f"{folder}/sub/../field-2.jpg"])
    assert names(files) == ["field-2.jpg", "field-1.tif", "field-10.PNG", "odd [1].webp"]


@pytest.mark.parametrize("path", ["absent.png", "*.gif", "empty"])
def test_nothing_there_is_said_with_the_path(folder, path):
    (folder / "empty").mkdir()
    with pytest.raises(NoImages, match=path.replace("*", r"\*")):
        image_files([folder / path])


def test_profiles_have_one_place_that_adapt_and_the_services_agree_on(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert site_profiles_folder() == tmp_path / "hemaserve" / "site_profiles"
    monkeypatch.delenv("XDG_DATA_HOME")
    assert site_profiles_folder().parts[-4:] == (".local", "share", "hemaserve", "site_profiles")
