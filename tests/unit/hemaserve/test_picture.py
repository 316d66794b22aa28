"""Annotated pictures: what must be seen is there, and nothing leaves the picture."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hemaserve import label_places, picture
from hemaserve.cells import PRIMARY_TYPES, CellType, Kind, primary_of
from hemaserve.geometry import Box
from hemaserve.results import Cell, Classification, FieldResult, Provenance, ResultStatus, ScreenFinding

PROVENANCE = Provenance(None, None, (), "1", 0.5, (), "0")


def a_cell(box, cell_type=CellType.LYMPHOCYTE, *, identified=True):
    said = Classification(identified, cell_type, primary_of(cell_type), 0.87, {})
    return Cell("c", box, Kind.WBC, 0.9, classification=said)


def a_result(cells, width, height):
    return FieldResult(
        "r", 1, ResultStatus.PRELIMINARY, "", "f", 0, width, height, tuple(cells), {}, "", PROVENANCE
    )


def a_field(width, height):
    return np.full((height, width, 3), 230, np.uint8)


def pixels(image):
    return {tuple(pixel) for pixel in np.asarray(image).reshape(-1, 3)}


@pytest.mark.parametrize(("width", "height"), [(16, 16), (200, 150), (640, 480), (3000, 2000), (60, 900)])
def test_the_picture_is_the_field_unscaled_with_a_strip_below(width, height):
    drawn = picture.annotate(a_field(width, height), a_result([], width, height))
    assert drawn.size == picture.canvas_size(width, height)
    assert drawn.width >= width
    assert drawn.height > height
    assert (np.asarray(drawn)[:height, :width] == 230).all()


@pytest.mark.parametrize("cell_type", [t for t in PRIMARY_TYPES if t in picture.COLOURS])
def test_each_type_has_its_colour_on_the_box(cell_type):
    cell = a_cell(Box(100, 100, 200, 200), cell_type)
    drawn = np.asarray(picture.annotate(a_field(400, 300), a_result([cell], 400, 300)))
    assert tuple(drawn[150, 100]) == picture.COLOURS[cell_type]


def test_the_colours_differ_and_none_is_that_of_the_unidentified():
    colours = [*picture.COLOURS.values(), picture.UNIDENTIFIED]
    for one, other in itertools.combinations(colours, 2):
        assert sum(abs(a - b) for a, b in zip(one, other, strict=True)) > 60


def test_an_unidentified_cell_is_dashed_grey_with_a_question_mark():
    cell = a_cell(Box(100, 100, 200, 200), identified=False)
    drawn = np.asarray(picture.annotate(a_field(400, 300), a_result([cell], 400, 300)))
    side = {tuple(pixel) for pixel in drawn[105:195, 100]}
    assert {picture.UNIDENTIFIED, (255, 255, 255)} <= side
    assert picture.label_of(cell).startswith("?")


def test_a_guess_never_wears_the_colour_of_its_type():
    cell = a_cell(Box(50, 50, 90, 90), CellType.EOSINOPHIL, identified=False)
    assert picture.COLOURS[CellType.EOSINOPHIL] not in pixels(
        picture.annotate(a_field(300, 200), a_result([cell], 300, 200))
    )


def test_the_legend_counts_primary_types_and_the_unidentified():
    box = Box(0, 0, 10, 10)
    cells = [
        a_cell(box, CellType.NEUTROPHIL_BAND),
        a_cell(box, CellType.NEUTROPHIL_SEGMENTED),
        a_cell(box),
        a_cell(box, identified=False),
    ]
    assert [(title, count) for title, _, count in picture.legend(cells)] == [
        ("Neutrophil", 2),
        ("Lymphocyte", 1),
        ("Unidentified", 1),
    ]


def test_the_label_has_name_and_probability():
    assert picture.label_of(a_cell(Box(0, 0, 9, 9), CellType.NEUTROPHIL_BAND)) == "Band neutrophil 87%"


boxes = st.lists(
    st.builds(
        lambda x, y, w, h: Box(x, y, min(x + w, 640), min(y + h, 480)),
        st.floats(0, 600),
        st.floats(0, 450),
        st.floats(1, 200),
        st.floats(1, 200),
    ),
    max_size=12,
)


@given(boxes)
def test_labels_stay_in_the_field(cells):
    places = label_places.place_labels(cells, [(150, 20)] * len(cells), (640, 480))
    assert len(places) == len(cells)
    for place in places:
        assert 0 <= place.x0 < place.x1 <= 640
        assert 0 <= place.y0 < place.y1 <= 480
        assert (place.width, place.height) == pytest.approx((150, 20))


def test_labels_of_cells_side_by_side_do_not_hide_each_other():
    cells = [Box(100 + 70 * i, 200, 160 + 70 * i, 260) for i in range(4)]
    places = label_places.place_labels(cells, [(130, 20)] * 4, (640, 480))
    for one, other in itertools.combinations(places, 2):
        assert one.iou(other) < 0.2


@given(boxes, st.booleans())
@settings(max_examples=25, deadline=None)
def test_any_boxes_can_be_drawn(cells, identified):
    result = a_result([a_cell(box, identified=identified) for box in cells], 640, 480)
    assert picture.annotate(a_field(640, 480), result).size == picture.canvas_size(640, 480)


@pytest.mark.parametrize("title", ["", "field.png", "a-very-long-name-" * 20])
def test_the_notice_is_never_what_is_cut_off(title):
    room = len(picture.NOTICE) + 20

    words = picture.strip_text(title, lambda text: len(text) <= room)

    assert words.startswith(picture.NOTICE)
    assert len(words) <= room
    assert title[:8] in words


@pytest.mark.parametrize("side", [16, 60, 224, 575, 2000])
def test_the_narrowest_picture_has_room_for_the_notice(side):
    field = a_field(side, side)
    with_notice = picture.annotate(field, a_result([], side, side))
    # Ink in the last column would mean that the words go on beyond it.
    assert (np.asarray(with_notice)[side:, -1] == 255).all()


def test_a_box_thinner_than_a_pixel_at_the_edge_can_be_drawn():
    cells = [a_cell(Box(0, 0.5, 1, 1))]

    drawn = picture.annotate(a_field(32, 32), a_result(cells, 32, 32))

    assert picture.COLOURS[CellType.LYMPHOCYTE] in pixels(drawn)


def flagged(cell, probability=0.93):
    return replace(
        cell, screen=ScreenFinding(True, probability, {"benign": 1 - probability, "bad": probability})
    )


@pytest.mark.parametrize("identified", [True, False])
def test_a_flagged_cell_has_an_outer_frame_and_keeps_the_colour_of_its_type(identified):
    cell = flagged(a_cell(Box(100, 100, 200, 200), identified=identified))
    drawn = np.asarray(picture.annotate(a_field(400, 300), a_result([cell], 400, 300)))
    outside = {tuple(pixel) for pixel in drawn[150, 85:99]}
    assert picture.FLAGGED in outside
    assert tuple(drawn[150, 100]) == picture.colour_of(cell) or not identified
    plain = np.asarray(picture.annotate(a_field(400, 300), a_result([replace(cell, screen=None)], 400, 300)))
    assert picture.FLAGGED not in pixels(plain)


def test_a_flag_is_said_beside_the_type_and_counted_in_the_legend():
    cells = [flagged(a_cell(Box(0, 0, 9, 9))), a_cell(Box(20, 0, 29, 9))]
    assert picture.label_of(cells[0]) == "Lymphocyte 87% ! 93%"
    assert picture.label_of(cells[1]) == "Lymphocyte 87%"
    assert picture.legend(cells)[-1] == ("To look at (!)", picture.FLAGGED, 1)
    assert all(title != "To look at (!)" for title, _, _ in picture.legend(cells[1:]))


def test_a_screened_cell_that_is_not_flagged_is_drawn_as_any_other():
    cell = a_cell(Box(100, 100, 200, 200))
    screened = replace(cell, screen=ScreenFinding(False, 0.1, {}))
    drawn = [picture.annotate(a_field(400, 300), a_result([each], 400, 300)) for each in (cell, screened)]
    assert np.array_equal(np.asarray(drawn[0]), np.asarray(drawn[1]))


def test_a_flagged_field_has_a_frame_of_its_own():
    result = replace(a_result([], 400, 300), screen=ScreenFinding(True, 0.8, {}))
    drawn = np.asarray(picture.annotate(a_field(400, 300), result))
    assert tuple(drawn[0, 200]) == tuple(drawn[299, 200]) == picture.FLAGGED
    assert (drawn[20:280, 20:380] == 230).all()


@given(st.floats(-5, 398), st.floats(-5, 298), st.floats(1, 90))
@settings(max_examples=30)
def test_the_frame_of_a_flagged_cell_stays_in_the_field(x, y, side):
    cell = flagged(a_cell(Box(max(x, 0), max(y, 0), min(x + side, 400), min(y + side, 300))))
    drawn = np.asarray(picture.annotate(a_field(400, 300), a_result([cell], 400, 300)))
    beside = drawn[:300, 400:]
    assert picture.FLAGGED not in pixels(beside)
