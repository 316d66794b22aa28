"""Which fields speed is measured with."""

import io

import numpy as np
import pytest
from PIL import Image

from benchmarks import images


def photograph(path, shade):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (32, 24), (shade, 0, 0)).save(path)


@pytest.fixture
def data(tmp_path):
    for number in range(6):
        photograph(tmp_path / images.SETS[0] / f"{number}.png", number)
        photograph(tmp_path / images.SETS[1] / f"{number}.jpg", 100 + number)
    (tmp_path / images.SETS[0] / "notes.txt").write_text("no image")
    return tmp_path


def test_photographs_come_from_both_sets_evenly_and_the_same_each_time(data):
    found = images.photographs(data, 4)
    firsts = [Image.open(io.BytesIO(file)).getpixel((0, 0))[0] for file in found.files]
    assert firsts == pytest.approx([0, 100, 3, 103], abs=2)
    assert found == images.photographs(data, 4)
    assert "bccd" in found.source


def test_too_few_photographs_are_told(data):
    with pytest.raises(SystemExit, match="has 12 of 14 fields"):
        images.photographs(data, 14)


def test_without_photographs_fields_are_generated_and_results_say_so(monkeypatch):
    monkeypatch.delenv(images.DATA_ENV, raising=False)
    found = images.fields(2)
    assert found.source.startswith("generated")
    assert found.facts()["count"] == 2
    assert found.facts()["sha256"] == images.generated(2).facts()["sha256"]
    assert found.facts()["sha256"] != images.generated(2, white_cells=1).facts()["sha256"]


def test_a_file_of_a_size_is_the_nearest_that_jpeg_can_do():
    noisy = Image.fromarray(np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8))
    assert len(images.of_size(noisy, 20_000)) == pytest.approx(20_000, rel=0.05)
