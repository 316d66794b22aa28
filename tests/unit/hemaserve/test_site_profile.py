"""The file of a site profile, and what it does to crops."""

import json
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hemaserve import site_profile
from hemaserve.site_profile import (
    DENSITY,
    IDENTITY,
    MAX_BYTES,
    ColourCorrection,
    SiteProfile,
    UnusableProfile,
    correct,
    from_json,
    to_json,
)

STRONG = ColourCorrection(((2.4, 0.4, -0.8), (0.4, 2.6, -2.0), (-0.2, 0.7, 0.4)), (-0.46, -0.07, 0.02))

crops = arrays.arrays(np.uint8, st.tuples(st.integers(0, 3), st.just(8), st.just(8), st.just(3)))
small = st.floats(-0.3, 0.3)
corrections = st.builds(
    lambda rows, offset: ColourCorrection(
        tuple(
            tuple(value + (row == column) for column, value in enumerate(values))
            for row, values in enumerate(rows)
        ),
        offset,
    ),
    st.tuples(*[st.tuples(small, small, small)] * 3),
    st.tuples(*[st.floats(-3, 3)] * 3),
)


def a_profile(**changes) -> SiteProfile:
    made = {
        "name": "a-lab",
        "created_at": datetime(2026, 11, 21, 9, tzinfo=UTC),
        "fields": 12,
        "white_cells": 34,
    }
    return SiteProfile(**(made | {"correction": STRONG} | changes))


def document(**changes) -> bytes:
    return json.dumps(json.loads(to_json(a_profile())) | changes).encode()


@given(crops)
def test_the_identity_changes_no_pixel(pixels):
    assert np.array_equal(correct(IDENTITY, pixels), pixels)


@given(crops, corrections)
def test_a_correction_is_the_affine_map_of_optical_density(pixels, correction):
    before = pixels.copy()
    density = DENSITY[pixels] @ np.array(correction.matrix).T + np.array(correction.offset)
    expected = np.clip(256 * np.exp(-density) - 1, 0, 255)
    found = correct(correction, pixels)
    assert found.dtype == np.uint8
    assert np.abs(found - expected).max(initial=0) <= 0.5 + 1e-6
    assert np.array_equal(pixels, before)


def test_what_becomes_of_a_crop_does_not_depend_on_the_others():
    rng = np.random.default_rng(7)
    pixels = rng.integers(0, 256, (70, 9, 9, 3), np.uint8)
    alone = np.concatenate([correct(STRONG, crop[None]) for crop in pixels])
    assert np.array_equal(correct(STRONG, pixels), alone)


def test_the_strongest_correction_still_gives_pixels():
    extreme = ColourCorrection(((8.0, 0.0, 0.0), (0.0, 8.0, 0.0), (0.0, 0.0, 0.125)), (3.0, -3.0, 0.0))
    pixels = np.stack(np.meshgrid([0, 1, 254, 255], [0, 255], [0, 255]), -1).astype(np.uint8)
    with np.errstate(all="raise", under="ignore"):
        assert correct(extreme, pixels).dtype == np.uint8


@given(corrections, st.integers(0, 2**31 - 1), st.integers(-12, 12))
def test_a_profile_survives_its_file(correction, count, hours):
    created_at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=hours)))
    profile = a_profile(correction=correction, fields=count, white_cells=count, created_at=created_at)
    assert from_json(to_json(profile).encode()) == profile


@pytest.mark.parametrize("name", ["a", "7", "lab.2-b_c", "x" * 64])
def test_names_that_may_be(name):
    assert a_profile(name=name).name == name


@pytest.mark.parametrize(
    "name", ["", "A", "-a", ".a", "..", "a/b", "../a", "a\\b", "a b", "ä", "x" * 65, "a\n", "a\0"]
)
def test_names_that_may_not_be(name):
    with pytest.raises(UnusableProfile, match="the name must be"):
        a_profile(name=name)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"matrix": ((float("nan"), 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))}, "finite"),
        ({"offset": (0.0, float("inf"), 0.0)}, "finite"),
        ({"offset": (0.0, 0.0, 3.1)}, "offset"),
        ({"matrix": ((1.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0))}, "stretch"),
        ({"matrix": ((9.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))}, "stretch"),
        ({"matrix": ((0.0, 1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0))}, "mirroring"),
    ],
)
def test_a_correction_that_would_ruin_colours_is_refused(changes, complaint):
    with pytest.raises(UnusableProfile, match=complaint):
        ColourCorrection(**({"matrix": IDENTITY.matrix, "offset": IDENTITY.offset} | changes))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff\xfe\x00",
        b"[" * 10_000,
        b" " * (MAX_BYTES + 1),
        document(format="hemaserve.site_profile.v2"),
        document(name="../../etc/passwd"),
        document(name=3),
        document(fields=True),
        document(fields=-1),
        document(fields=1.5),
        document(white_cells=2**31),
        document(white_cells=None),
        document(created_at="yesterday"),
        document(created_at="2026-11-21T09:00:00"),
        document(created_at=0),
        document(matrix=[[1, 0, 0], [0, 1, 0]]),
        document(matrix=[[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]]),
        document(matrix=[[1, 0, 0], [0, 1, 0], [0, 0]]),
        document(matrix=[[1, 0, 0], [0, 1, 0], [0, 0, "1"]]),
        document(matrix=[[1, 0, 0], [0, 1, 0], [0, 0, True]]),
        document(matrix=[[1, 0, 0], [0, 1, 0], [0, 0, 10**400]]),
        document(matrix=0),
        document(offset={"r": 1}),
        document().replace(b"2.4", b"NaN"),
        document().replace(b"2.4", b"1e999"),
        document().replace(b"2.4", b"9" * 5000),
    ],
)
def test_a_hostile_file_is_refused_and_nothing_else_happens(data):
    with pytest.raises(UnusableProfile):
        from_json(data)


@given(st.binary(max_size=200) | st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists).map(
    lambda value: json.dumps({"format": site_profile.FORMAT, "matrix": value, "name": value}).encode()
))  # fmt: skip
def test_no_bytes_at_all_raise_anything_else(data):
    with pytest.raises(UnusableProfile):
        from_json(data)
