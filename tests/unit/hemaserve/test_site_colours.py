"""Finding a laboratory's colours and the correction for them."""

from dataclasses import replace

import numpy as np
import pytest

from hemaserve import synthetic
from hemaserve.cells import Kind
from hemaserve.errors import FailedPrecondition
from hemaserve.geometry import Box
from hemaserve.site_colours import (
    Anchors,
    FieldColours,
    anchors_of,
    corrected,
    estimate_correction,
    field_colours,
    reference_anchors,
)
from hemaserve.site_profile import IDENTITY, ColourCorrection, correct

SHIFT = ColourCorrection(((0.6, 0.1, 0.05), (0.05, 0.7, 0.1), (0.0, 0.1, 0.8)), (0.1, 0.05, 0.0))
"""Another laboratory: paler dyes of another hue, less light."""


def colours_of(field, image=None):
    def boxes(kind):
        return [cell.box for cell in field.cells if cell.kind is kind]

    return field_colours(field.image if image is None else image, boxes(Kind.WBC), boxes(Kind.RBC))


@pytest.fixture(scope="module")
def fields():
    return [synthetic.generate_field(seed, white_cells=4) for seed in range(6)]


@pytest.fixture(scope="module")
def home(fields):
    return anchors_of([colours_of(field) for field in fields])


@pytest.fixture(scope="module")
def abroad(fields):
    return anchors_of([colours_of(field, correct(SHIFT, field.image[None])[0]) for field in fields])


def distance(one: Anchors, other: Anchors) -> float:
    """The greatest difference of any two numbers, in optical density."""
    pairs = zip(vectors(one), vectors(other), strict=True)
    return max(float(np.abs(np.array(a) - np.array(b)).max()) for a, b in pairs)


def vectors(anchors):
    return anchors.background, anchors.red_cell, anchors.nucleus


def test_the_anchors_are_the_colours_that_were_painted(home):
    stain = synthetic.STAINS["may-gruenwald-giemsa"]
    # Uneven light, noise and texture lie upon the colours of the stain.
    for found, painted in ((home.background, stain.background), (home.red_cell, stain.red_cell)):
        assert np.abs(256 * np.exp(-np.array(found)) - 1 - np.array(painted)).max() < 25
    assert sum(home.background) < sum(home.red_cell) < sum(home.nucleus)


def test_a_known_shift_of_colours_is_found(home, abroad):
    assert distance(home, abroad) > 0.2
    found = estimate_correction(abroad, home)
    undone = np.linalg.inv(np.array(SHIFT.matrix))
    # Two of three directions are anchored; along the third the map is a guess.
    for dye in (home.red_cell, home.nucleus):
        seen = np.array(SHIFT.matrix) @ (np.array(dye) - np.array(home.background))
        assert np.abs(np.array(found.matrix) @ seen - undone @ seen).max() < 0.1


def test_corrected_fields_have_the_colours_of_the_reference(fields, home, abroad):
    correction = estimate_correction(abroad, home)
    again = [colours_of(field, correct(correction, correct(SHIFT, field.image[None]))[0]) for field in fields]
    assert distance(anchors_of(again), home) < 0.1


def test_the_anchors_of_a_site_become_exactly_those_of_the_reference(abroad):
    correction = estimate_correction(abroad, reference_anchors())
    assert distance(corrected(correction, abroad), reference_anchors()) < 1e-9


def test_the_reference_itself_needs_no_correction(home):
    found = estimate_correction(home, home)
    assert np.allclose(found.matrix, IDENTITY.matrix)
    assert np.allclose(found.offset, IDENTITY.offset)


def test_other_fields_of_the_same_laboratory_need_next_to_none(home):
    others = anchors_of([colours_of(synthetic.generate_field(seed, white_cells=4)) for seed in range(50, 56)])
    assert np.abs(np.array(estimate_correction(others, home).matrix) - np.eye(3)).max() < 0.2


def test_too_few_cells_are_refused_with_what_is_needed(fields):
    with pytest.raises(
        FailedPrecondition, match=r"4 white and \d+ red ones in 1 fields; needed are 20 white"
    ):
        anchors_of([colours_of(fields[0])])
    with pytest.raises(FailedPrecondition, match="0 white and 0 red ones in 0 fields"):
        anchors_of([])


def test_fields_without_background_are_no_reason_to_fail_and_all_of_them_are(fields):
    colours = [colours_of(field) for field in fields]
    bare = [replace(item, background=np.empty((0, 3))) for item in colours]
    assert anchors_of([*bare[:-1], colours[-1]]).background == tuple(colours[-1].background[0])
    with pytest.raises(FailedPrecondition, match="background"):
        anchors_of(bare)


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_photographs_without_colour_are_refused(home, value):
    grey = Anchors((0.0, 0.0, 0.0), (value, value, value), (1.0, 1.0, 1.0))
    with pytest.raises(FailedPrecondition, match="in colour"):
        estimate_correction(grey, home)


def test_a_correction_beyond_all_sense_is_refused(home):
    faint = Anchors((0.0, 0.0, 0.0), (0.001, 0.0, 0.002), (0.0, 0.003, 0.001))
    with pytest.raises(FailedPrecondition, match="cannot be brought"):
        estimate_correction(faint, home)


@pytest.mark.parametrize(
    "boxes",
    [
        [],
        [Box(-5, -5, 3, 3)],
        [Box(0, 0, 40, 30)],
        [Box(39, 29, 40, 30)],
        [Box(-10, -10, 80, 80)],
    ],
)
def test_boxes_at_and_beyond_the_edge_do_no_harm(boxes):
    image = np.random.default_rng(1).integers(0, 256, (30, 40, 3), np.uint8)
    found = field_colours(image, boxes, boxes)
    assert isinstance(found, FieldColours)
    assert {found.background.shape[1:], found.red_cells.shape[1:], found.nuclei.shape[1:]} == {(3,)}
    assert len(found.red_cells) == 0  # a white cell's box touches each of them


def test_a_cell_that_the_detector_left_out_does_not_darken_the_background(fields, home):
    def some(field):
        red = [cell.box for cell in field.cells if cell.kind is Kind.RBC]
        white = [cell.box for cell in field.cells if cell.kind is Kind.WBC]
        return field_colours(field.image, white, red[::2])

    half = anchors_of([some(field) for field in fields])
    assert np.abs(np.array(half.background) - np.array(home.background)).max() < 0.03


def test_the_reference_is_a_stained_smear():
    reference = reference_anchors()
    assert 0 <= sum(reference.background) < sum(reference.red_cell) < sum(reference.nucleus)
    # Haemoglobin and eosin let red pass, and chromatin is purple: it lets blue pass best.
    assert reference.red_cell[0] < min(reference.red_cell[1:])
    assert reference.nucleus[2] < min(reference.nucleus[:2])
