"""Cells that the caller has located: each is cut out of its image, and the classifier names it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from hemaserve.errors import DomainError, InvalidArgument
from hemaserve.v1 import cells_pb2, classifier_pb2
from services.gateway.classifier import CellStream, ClassifierClient, classification_of
from services.gateway.located_cells import CellCutter, CutCell, LocatedCell, RefusedCell, crop_to_proto
from services.gateway.models import CropShape, ModelDirectory
from services.gateway.provenance import merge_provenances
from services.runtime.remote import Deadline
from services.runtime.repeating import repeated
from services.runtime.stages import stage
from services.runtime.tasks import task_group

Outcome = cells_pb2.Classification | DomainError
"""What came of one cell: what it is, or why that cannot be said."""


@dataclass(frozen=True, slots=True)
class NamedCells:
    """The answers to one request.

    Attributes:
        outcomes: one for each cell, in order.
        provenance: where they came from.
    """

    outcomes: tuple[Outcome, ...]
    provenance: cells_pb2.Provenance


class CellNaming:
    """Names located cells."""

    def __init__(self, classifier: ClassifierClient, models: ModelDirectory, cutter: CellCutter) -> None:
        self._classifier = classifier
        self._models = models
        self._cutter = cutter

    async def name(
        self,
        cells: Sequence[LocatedCell | RefusedCell],
        *,
        model: str,
        site_profile: str,
        deadline: Deadline,
        shadow_model: str = "",
    ) -> NamedCells:
        """Name the cells of one request; a cell that cannot be read harms no other.

        Raises:
            DomainError: none of them could be named, whatever their images.
        """
        with stage("models"):
            shape = await self._models.crop_shape(model, field="model", timeout_s=deadline.remaining_s())
        with stage("cut"):
            cut = await asyncio.gather(*(self._cut(cell, shape) for cell in cells))
        outcomes: dict[int, Outcome] = {
            index: crop for index, crop in enumerate(cut) if isinstance(crop, DomainError)
        }
        # The caller's ids may be empty or repeated; places are neither.
        crops = [
            classifier_pb2.CellToClassify(crop=crop_to_proto(str(index), cell))
            for index, cell in enumerate(cut)
            if not isinstance(cell, DomainError)
        ]
        provenance = cells_pb2.Provenance()
        if crops:

            async def attempt() -> tuple[dict[int, Outcome], cells_pb2.Provenance]:
                return await self._named(crops, model, site_profile, deadline, shadow_model)

            with stage("classify"):
                named, provenance = await repeated(
                    attempt, budgets=[self._classifier.budget], deadline=deadline
                )
            outcomes |= named
        return NamedCells(
            outcomes=tuple(outcomes[index] for index in range(len(cells))), provenance=provenance
        )

    async def _named(
        self,
        crops: Sequence[classifier_pb2.CellToClassify],
        model: str,
        site_profile: str,
        deadline: Deadline,
        shadow_model: str,
    ) -> tuple[dict[int, Outcome], cells_pb2.Provenance]:
        """What the classifier says of crops, by their numbers."""
        outcomes: dict[int, Outcome] = {}
        provenances: list[cells_pb2.Provenance] = []
        async with (
            self._classifier.stream(
                model=model,
                shadow_model=shadow_model,
                site_profile=site_profile,
                deadline=deadline,
                paths={},
            ) as stream,
            task_group() as group,
        ):
            group.create_task(_send_all(stream, crops))
            async for response in stream.answers():
                provenances.append(response.provenance)
                outcomes |= {int(cell.cell_id): _outcome(cell) for cell in response.cells}
        return outcomes, merge_provenances(provenances)

    async def _cut(self, cell: LocatedCell | RefusedCell, shape: CropShape) -> CutCell | InvalidArgument:
        try:
            return await self._cutter.cut(cell, shape)
        except InvalidArgument as error:
            return error


async def _send_all(
    stream: CellStream[classifier_pb2.ClassifyResponse], cells: Sequence[classifier_pb2.CellToClassify]
) -> None:
    await stream.send(cells)
    await stream.finish()


def _outcome(cell: classifier_pb2.ClassifiedCell) -> Outcome:
    try:
        return classification_of(cell)
    except DomainError as error:
        return error
