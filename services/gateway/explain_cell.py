"""Why a cell gets its name: it is cut out of its image, and the classifier says what in the crop speaks for a type."""

from hemaserve.cells import CellType
from hemaserve.v1 import classifier_pb2, gateway_pb2
from services.gateway.classifier import ClassifierClient
from services.gateway.located_cells import CellCutter, LocatedCell, RefusedCell, crop_to_proto
from services.gateway.models import ModelDirectory
from services.gateway.provenance import merge_provenances
from services.runtime.remote import Deadline
from services.runtime.stages import stage
from services.runtime.translate import box_to_proto, type_to_proto


class CellExplaining:
    """Explains the names of located cells."""

    def __init__(self, classifier: ClassifierClient, models: ModelDirectory, cutter: CellCutter) -> None:
        self._classifier = classifier
        self._models = models
        self._cutter = cutter

    async def explain(
        self,
        cell: LocatedCell | RefusedCell,
        *,
        model: str,
        cell_type: CellType | None,
        site_profile: str,
        deadline: Deadline,
    ) -> gateway_pb2.ExplainCellResponse:
        """Name a cell and say what speaks for a type; the explanation's area is in the pixels of the cell's image.

        Args:
            model: classification model; empty for the service's default.
            cell_type: the type to explain; None for the one that the cell is given.
            site_profile: name of the profile that corrects the crop's colours; empty for none.

        Raises:
            DomainError: it cannot be done; what is wrong with the cell, its model or the type is told by the request's
                own paths.
        """
        with stage("models"):
            shape = await self._models.crop_shape(model, field="model", timeout_s=deadline.remaining_s())
        with stage("cut"):
            cut = await self._cutter.cut(cell, shape)
        with stage("explain"):
            explained = await self._classifier.explain(
                classifier_pb2.ExplainRequest(
                    model=model,
                    cell=classifier_pb2.CellToClassify(crop=crop_to_proto("0", cut)),
                    type=type_to_proto(cell_type),
                    site_profile=site_profile,
                ),
                deadline=deadline,
            )
        explanation = explained.explanation
        explanation.area.CopyFrom(box_to_proto(cut.area))
        return gateway_pb2.ExplainCellResponse(
            cell_id=cell.cell_id,
            classification=explained.classification,
            explanation=explanation,
            provenance=merge_provenances([explained.provenance]),
        )
