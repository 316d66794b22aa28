"""From an image file to detections and crops in chunks."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from hemaserve.cells import Kind
from hemaserve.crops import CropEncoding
from hemaserve.errors import NotFound
from hemaserve.geometry import Box
from hemaserve.imaging import cut_crop
from services.detector.crops import CropOrder
from services.detector.detection import DetectionOrder, named
from services.detector.predictions import Candidates
from services.runtime.remote import Deadline

CELL = Box(300, 200, 380, 280)
KINDS = tuple(Kind)


def png(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def crops(*kinds, size_px=96):
    return CropOrder(frozenset(kinds), CropEncoding.RAW_RGB8, size_px, 0.15)


def order(**changes):
    asked = {"model": "", "um_per_px": None, "kinds": None, "score_threshold": None, "crops": crops(Kind.WBC)}
    return DetectionOrder(**{**asked, **changes})


async def test_a_cell_is_found_named_and_cut(detector, draw):
    image = draw(640, 480, (Kind.WBC, CELL))
    async with detector.detect(png(image), order(um_per_px=0.05), Deadline(30)) as found:
        chunks = [chunk async for chunk in detector.cut(found, order().crops, chunk_bytes=2**20)]
    assert (found.field.width, found.field.height, found.pieces) == (640, 480, 1)
    ((cut,),) = chunks
    assert (cut.detection.kind, round(cut.detection.score, 3)) == (Kind.WBC, 0.9)
    assert CELL.iou(cut.detection.box) > 0.9
    assert cut.detection.cell_id.startswith("wbc-3")
    assert cut.crop == cut_crop(image, cut.detection.box, size=96, margin=0.15).tobytes()


async def test_a_field_without_cells_is_a_result(detector, draw):
    async with detector.detect(png(draw(640, 480)), order(), Deadline(30)) as found:
        assert found.detections == []
        assert [chunk async for chunk in detector.cut(found, order().crops, chunk_bytes=2**20)] == []


@pytest.mark.parametrize(("kinds", "count"), [({Kind.RBC}, 0), ({Kind.WBC}, 1), (None, 1)])
async def test_only_kinds_that_are_asked_for_are_reported(detector, draw, kinds, count):
    image = png(draw(640, 480, (Kind.WBC, CELL)))
    async with detector.detect(image, order(kinds=kinds), Deadline(30)) as found:
        assert len(found.detections) == count


async def test_kinds_of_which_no_crop_is_wanted_come_without(detector, draw):
    image = png(draw(640, 480, (Kind.RBC, CELL)))
    async with detector.detect(image, order(), Deadline(30)) as found:
        ((cut,),) = [chunk async for chunk in detector.cut(found, crops(Kind.WBC), chunk_bytes=2**20)]
    assert cut.detection.kind is Kind.RBC
    assert cut.crop is None


async def test_a_threshold_of_the_callers_replaces_the_models_own(detector, draw):
    image = png(draw(640, 480, (Kind.WBC, CELL)))
    async with detector.detect(image, order(score_threshold=0.95), Deadline(30)) as found:
        assert found.detections == []
        assert found.thresholds == dict.fromkeys(Kind, 0.95)


async def test_a_known_scale_decides_the_tiles(detector, draw):
    image = png(draw(640, 480, (Kind.WBC, CELL)))
    async with detector.detect(image, order(um_per_px=0.3), Deadline(30)) as found:
        assert found.pieces > 10
        assert [d.kind for d in found.detections] == [Kind.WBC]
        assert CELL.iou(found.detections[0].box) > 0.9


def red_cells(side, step, *, width=640, height=480):
    """Rows of red cells of this side."""
    return [
        (Kind.RBC, Box(x, y, x + side, y + side))
        for y in range(5, height - step, step)
        for x in range(5, width - step, step)
    ]


async def test_a_field_with_cells_as_in_training_is_looked_at_once(detector, draw):
    cells = red_cells(120, 150)
    async with detector.detect(png(draw(640, 480, *cells)), order(), Deadline(30)) as found:
        assert found.pieces == 1
        assert len(found.detections) == len(cells)


async def test_a_field_with_small_cells_is_looked_at_in_tiles_that_show_them_as_in_training(detector, draw):
    cells = red_cells(24, 52)
    async with detector.detect(png(draw(640, 480, *cells)), order(), Deadline(30)) as found:
        assert len(found.detections) == len(cells)
        assert found.pieces > 20


@pytest.mark.parametrize("asked", [{"kinds": {Kind.WBC}}, {"score_threshold": 0.95}])
async def test_what_a_caller_asks_for_does_not_change_where_the_network_looks(
    detector, fake_triton, draw, asked
):
    image = png(draw(640, 480, *red_cells(24, 52)))
    async with detector.detect(image, order(), Deadline(30)) as found:
        pieces = found.pieces
    async with detector.detect(image, order(**asked), Deadline(30)) as found:
        assert (found.pieces, found.detections) == (pieces, [])
    assert sum(fake_triton.batches) == 2 * pieces


async def test_a_known_scale_is_believed_whatever_the_cells_look_like(detector, draw):
    image = png(draw(640, 480, *red_cells(24, 52)))
    async with detector.detect(image, order(um_per_px=0.05), Deadline(30)) as found:
        assert found.pieces == 1


async def test_a_nearly_empty_field_is_searched_closely_but_not_tiled_without_a_scale(detector, draw):
    image = png(draw(640, 480, (Kind.WBC, CELL)))
    async with detector.detect(image, order(), Deadline(30)) as found:
        assert 1 < found.pieces <= 9
        assert len(found.detections) == 1


async def test_an_unknown_model_is_refused_before_the_image_is_touched(detector):
    with pytest.raises(NotFound):
        async with detector.detect(b"no image", order(model="cat"), Deadline(30)):
            pass


async def test_chunks_stay_below_their_size_and_keep_the_order(detector, draw):
    image = draw(640, 480, (Kind.WBC, CELL))
    async with detector.detect(png(image), order(), Deadline(30)) as found:
        many = [found.detections[0]] * 50
        full = replace(found, detections=many)
        sizes = [
            sum(len(cut.crop) for cut in chunk)
            async for chunk in detector.cut(full, crops(Kind.WBC), chunk_bytes=200_000)
        ]
    assert sum(sizes) == 50 * 96 * 96 * 3
    assert max(sizes) <= 200_000
    assert len(sizes) < 50


async def test_a_crop_larger_than_a_chunk_goes_alone(detector, draw):
    image = draw(640, 480, (Kind.WBC, CELL))
    async with detector.detect(png(image), order(), Deadline(30)) as found:
        full = replace(found, detections=[found.detections[0]] * 3)
        chunks = [c async for c in detector.cut(full, crops(Kind.WBC, size_px=512), chunk_bytes=4096)]
    assert [len(chunk) for chunk in chunks] == [1, 1, 1]


def test_ids_tell_kind_and_place_and_do_not_depend_on_the_others():
    boxes = np.array([[10, 20, 31, 41], [100, 100, 120, 120]], np.float32)
    found = Candidates(boxes, np.array([0.9, 0.8], np.float32), np.array([0, 1]))
    assert [d.cell_id for d in named(found, KINDS)] == ["wbc-20-30", "rbc-110-110"]
    assert [d.cell_id for d in named(found.take(np.array([1])), KINDS)] == ["rbc-110-110"]


def test_cells_around_one_centre_have_ids_of_their_own():
    boxes = np.array([[0, 0, 100, 100], [40, 40, 60, 60], [45, 45, 55, 55]], np.float32)
    found = Candidates(boxes, np.array([0.9, 0.8, 0.7], np.float32), np.array([1, 1, 1]))
    assert [d.cell_id for d in named(found, KINDS)] == ["rbc-50-50", "rbc-50-50-2", "rbc-50-50-3"]
