"""Shows pieces of a field to a network in Triton."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from hemaserve.cells import Kind
from hemaserve.errors import NotFound, Unavailable
from hemaserve.geometry import FloatArray, Tile
from hemaserve.imaging import Letterbox, RgbImage, letterbox
from services.detector.models import INPUT, OUTPUT, DetectionModel
from services.detector.predictions import Candidates, read_predictions
from services.runtime.remote import Deadline
from services.runtime.stages import stage
from services.runtime.workers import Workers
from services.triton.pace import TritonPace


class Network:
    """Any detection network in Triton.

    Args:
        triton: where it is, and how much it is given at one time.
        workers: threads that scale the pieces and read the answers.
        batches_in_flight: how many batches of one field are on their way at one time; bounds memory.
    """

    def __init__(self, triton: TritonPace, workers: Workers, *, batches_in_flight: int) -> None:
        self._triton = triton
        self._workers = workers
        self._batches_in_flight = batches_in_flight

    async def look(
        self,
        image: RgbImage,
        pieces: Sequence[Tile],
        model: DetectionModel,
        thresholds: Mapping[Kind, float],
        deadline: Deadline,
    ) -> list[Candidates]:
        """What `model` sees in each of `pieces`, in the field's pixels, in the order of the pieces.

        Args:
            image: the field, uint8 [height, width, 3].
            thresholds: the least score of each kind that is looked for.

        Raises:
            DeadlineExceeded: `deadline` passed first.
            DomainError: Triton could not answer. The other batches are cancelled.
        """
        found: dict[int, Candidates] = {}
        batches = _batches(len(pieces), self._triton.rows(model.name, model.max_batch_size))

        async def work_off() -> None:
            for batch in batches:
                looked = await self._look_at(image, [pieces[i] for i in batch], model, thresholds, deadline)
                found.update(zip(batch, looked, strict=True))

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self._batches_in_flight, len(pieces))):
                    group.create_task(work_off())
        except ExceptionGroup as errors:
            # The first failure cancelled the rest: it alone is the reason.
            raise errors.exceptions[0] from None
        return [found[i] for i in range(len(pieces))]

    async def _look_at(
        self,
        image: RgbImage,
        pieces: Sequence[Tile],
        model: DetectionModel,
        thresholds: Mapping[Kind, float],
        deadline: Deadline,
    ) -> list[Candidates]:
        with stage("tile"):
            squares, ways_back = await self._workers.run(_squares, image, pieces, model.input_px)
        try:
            with stage("infer"):
                answer = await self._triton.infer(
                    model.name, {INPUT: squares}, [OUTPUT], timeout_s=deadline.remaining_s()
                )
        except NotFound:
            # It was there a moment ago, so this is no mistake of the caller's.
            raise Unavailable(f"detection model {model.name} is not loaded at the moment") from None
        with stage("nms"):
            return await self._workers.run(_read, answer[OUTPUT], pieces, ways_back, model, thresholds)


def _batches(count: int, size: int) -> Iterator[range]:
    return (range(start, min(start + size, count)) for start in range(0, count, size))


def _squares(image: RgbImage, pieces: Sequence[Tile], side: int) -> tuple[RgbImage, list[Letterbox]]:
    squares = np.empty((len(pieces), side, side, 3), np.uint8)
    ways_back = []
    for index, piece in enumerate(pieces):
        pixels = image[piece.y0 : piece.y0 + piece.height, piece.x0 : piece.x0 + piece.width]
        squares[index], way_back = letterbox(pixels, side)
        ways_back.append(way_back)
    return squares, ways_back


def _read(
    answer: FloatArray,
    pieces: Sequence[Tile],
    ways_back: Sequence[Letterbox],
    model: DetectionModel,
    thresholds: Mapping[Kind, float],
) -> list[Candidates]:
    found = []
    for raw, piece, way_back in zip(answer, pieces, ways_back, strict=True):
        seen = read_predictions(raw, model.kinds, thresholds, nms_iou=model.nms_iou)
        origin = np.array([piece.x0, piece.y0] * 2, np.float32)
        found.append(seen.moved_to(way_back.to_source(seen.boxes) + origin))
    return found
