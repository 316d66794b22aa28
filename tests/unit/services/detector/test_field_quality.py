"""What is measured of a field moves with what it is about, and with nothing else much."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFilter
from prometheus_client import CollectorRegistry

from hemaserve import synthetic
from hemaserve.cells import Kind
from services.detector.field_quality import field_quality
from services.detector.metrics import DetectorMetrics


@pytest.fixture(scope="module")
def image():
    return synthetic.generate_field(3).image


def blurred(image, radius):
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(radius)))


def test_the_more_a_field_is_blurred_the_less_is_its_focus(image):
    focus = [field_quality(each).focus for each in (image, blurred(image, 1), blurred(image, 3))]
    assert focus[0] > 1.5 * focus[1] > 1.5 * focus[2] > 0


def test_a_darker_lamp_darkens_the_background_and_leaves_the_stain(image):
    bright = field_quality(image)
    dark = field_quality((image * 0.7).astype(np.uint8))
    assert dark.background == pytest.approx([0.7 * each for each in bright.background], abs=0.02)
    assert dark.stain == pytest.approx(bright.stain, abs=0.05)


def test_a_deeper_stain_is_seen_as_such(image):
    stained = (255 * (image / 255.0) ** 1.5).astype(np.uint8)
    before, after = field_quality(image), field_quality(stained)
    assert all(more > less for more, less in zip(after.stain, before.stain, strict=True))


def test_a_colour_cast_shows_in_its_channel(image):
    cast = image.copy()
    cast[..., 2] = (cast[..., 2] * 0.8).astype(np.uint8)
    before, after = field_quality(image), field_quality(cast)
    assert after.background[:2] == before.background[:2]
    assert after.background[2] < before.background[2] - 0.1


@given(st.integers(1, 200), st.integers(1, 200), st.integers(0, 255))
def test_any_size_and_an_even_grey_are_measured(width, height, level):
    quality = field_quality(np.full((height, width, 3), level, np.uint8))
    assert quality.focus == 0
    assert quality.background == pytest.approx([level / 255] * 3)
    assert quality.stain == pytest.approx([0] * 3)


def test_a_field_counts_in_each_figure_once(image):
    registry = CollectorRegistry()
    DetectorMetrics(registry).field_done(field_quality(image), {Kind.WBC: 3, Kind.RBC: 40})
    value = registry.get_sample_value
    assert value("hemaserve_cells_detected_total", {"kind": "wbc"}) == 3
    assert value("hemaserve_cells_detected_total", {"kind": "rbc"}) == 40
    assert value("hemaserve_cells_detected_total", {"kind": "platelet"}) == 0
    assert value("hemaserve_field_focus_count") == 1
    for channel in ("red", "green", "blue"):
        assert value("hemaserve_field_background_ratio_count", {"channel": channel}) == 1
        assert value("hemaserve_field_stain_density_count", {"channel": channel}) == 1
