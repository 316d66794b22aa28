"""One field: what the detector finds goes to the classifier while the detector is still sending."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from typing import Final, TypeVar

from hemaserve.cells import Kind
from hemaserve.crops import CropEncoding
from hemaserve.errors import Internal
from hemaserve.results import Priority
from hemaserve.v1 import cells_pb2, classifier_pb2, detector_pb2
from services.gateway.classifier import CellStream, ClassifierClient, classification_of, finding_of
from services.gateway.detector import DetectorClient
from services.gateway.metrics import image_size
from services.gateway.models import CropShape, ModelDirectory
from services.gateway.orders import AnalyzeOptions, FieldOrder
from services.gateway.provenance import merge_provenances
from services.runtime.caller import current_caller
from services.runtime.hedging import Hedging
from services.runtime.remote import Deadline
from services.runtime.repeating import repeated
from services.runtime.span_signals import ATTEMPT
from services.runtime.stages import Stages, stage
from services.runtime.tasks import task_group
from services.runtime.tracing import Within, note
from services.runtime.translate import kind_from_proto, kind_to_proto

_REQUEST_PATHS: Final = {
    "image": "field.image",
    "um_per_px": "field.acquisition.um_per_px",
    "model": "options.detector_model",
}
_CLASSIFY_PATHS: Final = {"model": "options.model", "site_profile": "field.acquisition.site_profile"}

_Response = TypeVar("_Response", classifier_pb2.ClassifyResponse, classifier_pb2.ScreenCellsResponse)


@dataclass(frozen=True, slots=True)
class AnalyzedCell:
    """A classified cell. Detection and classification pass through the gateway as the services gave them.

    Attributes:
        detection: what the detector said.
        classification: what the classifier said.
        crop: the pixels that the classifier saw, RAW_RGB8; None unless the options ask for crops.
        screen: what the leukemia screen said; None unless the options ask for it, and for cells that are not white.
    """

    detection: cells_pb2.Detection
    classification: cells_pb2.Classification
    crop: cells_pb2.Crop | None
    screen: cells_pb2.ScreenFinding | None = None

    @property
    def kind(self) -> Kind | None:
        """What kind of cell it is; None for a kind of a newer contract."""
        return kind_from_proto(self.detection.kind)


@dataclass(frozen=True, slots=True)
class FieldAnalysis:
    """What was found in one field.

    Attributes:
        width_px: width of the field as displayed.
        height_px: height of the field as displayed.
        image_sha256: digest of the image file in lower-case hexadecimal.
        um_per_px: the scale that the detector was told; None when unknown.
        cells: the classified cells, best detection first.
        kind_counts: how many objects of each kind were found, classified or not.
        provenance: where this came from.
        screen: what the leukemia screen said of the field as a whole; None unless the options ask for it.
    """

    width_px: int
    height_px: int
    image_sha256: str
    um_per_px: float | None
    cells: tuple[AnalyzedCell, ...]
    kind_counts: Mapping[Kind, int]
    provenance: cells_pb2.Provenance
    screen: cells_pb2.ScreenFinding | None = None

    @property
    def degraded(self) -> bool:
        """Whether an ensemble answered for any cell without all its members."""
        return any(cell.classification.degraded for cell in self.cells)


class FieldPipeline:
    """Analyses fields, any number at the same time."""

    def __init__(
        self,
        detector: DetectorClient,
        classifier: ClassifierClient,
        models: ModelDirectory,
        hedging: Hedging | None = None,
    ) -> None:
        """Args:
        hedging: for fields that take long on their way through the replicas; None where there are none.
        """
        self._detector = detector
        self._classifier = classifier
        self._models = models
        self._hedging = hedging

    async def analyze(
        self, field: FieldOrder, options: AnalyzeOptions, *, deadline: Deadline
    ) -> FieldAnalysis:
        """Find the field's cells, name those of the kinds asked for, and screen it where asked for.

        A field without cells is a result. When a replica of a service is lost in the middle, the whole field is
        analysed again, so that all that is said of it is of one piece.

        Raises:
            DomainError: it could not be done; no cell, and no screen, is ever left out silently.
        """

        async def attempt() -> FieldAnalysis:
            with Within(ATTEMPT):
                return await self._attempt(field, options, deadline=deadline)

        async def first() -> FieldAnalysis:
            # A batch has time, and nobody else's is to be taken for it.
            if self._hedging is None or current_caller.get().priority is Priority.BATCH:
                return await attempt()
            return await self._hedging.first(attempt)

        budgets = (self._detector.budget, self._classifier.budget)
        return await repeated(first, budgets=budgets, deadline=deadline)

    async def _attempt(
        self, field: FieldOrder, options: AnalyzeOptions, *, deadline: Deadline
    ) -> FieldAnalysis:
        with stage("models"):
            shape = await self._models.crop_shape(
                options.model, field="options.model", timeout_s=deadline.remaining_s()
            )
            if options.screen:
                await self._models.check_screen(options.model, timeout_s=deadline.remaining_s())
        findings = _Findings(field, options)
        async with AsyncExitStack() as calls, task_group() as group:
            stages = calls.enter_context(Stages("detect"))
            detecting = self._detector.detect(
                _detect_request(field, options, shape),
                deadline=deadline,
                paths=_REQUEST_PATHS,
            )
            naming: CellStream[classifier_pb2.ClassifyResponse] | None = None
            screening: CellStream[classifier_pb2.ScreenCellsResponse] | None = None
            async for response in await calls.enter_async_context(aclosing(detecting)):
                stages.go_on("classify")
                if options.screen and response.HasField("field"):
                    # Not before: what the detector cannot read is its to refuse.
                    group.create_task(self._screen_field(field, findings, deadline))
                crops = findings.add(response)
                if crops and naming is None:
                    # Not before there are crops: a field that fails or is empty never bothers the classifier.
                    naming = await calls.enter_async_context(
                        self._classifier.stream(
                            model=options.model,
                            shadow_model=options.shadow_model,
                            site_profile=field.site_profile,
                            deadline=deadline,
                            paths=_CLASSIFY_PATHS,
                        )
                    )
                    group.create_task(_collect(naming, findings.name))
                if naming is not None:
                    await naming.send(crops)
                white = findings.to_screen(crops)
                if white and screening is None:
                    screening = await calls.enter_async_context(
                        self._classifier.screen_stream(deadline=deadline)
                    )
                    group.create_task(_collect(screening, findings.screen_cells))
                if screening is not None:
                    await screening.send(white)
            if naming is not None:
                await naming.finish()
            if screening is not None:
                await screening.finish()
        analysis = findings.analysis()
        note(hemaserve__image_size=image_size(analysis.width_px, analysis.height_px))
        return analysis

    async def _screen_field(self, field: FieldOrder, findings: "_Findings", deadline: Deadline) -> None:
        with stage("screen"):
            screened = await self._classifier.screen_field(
                field.image, deadline=deadline, paths=_REQUEST_PATHS
            )
        findings.screen_field(screened)


def _detect_request(
    field: FieldOrder, options: AnalyzeOptions, shape: CropShape
) -> detector_pb2.DetectRequest:
    """All kinds are asked for, because all are counted. Crops travel raw, so that what the caller wants of them does
    not change what the classifier sees."""
    return detector_pb2.DetectRequest(
        image=field.image,
        model=options.detector_model,
        um_per_px=field.um_per_px or 0.0,
        crop_kinds=[kind_to_proto(kind) for kind in Kind if kind in options.kinds],
        crop_encoding=cells_pb2.CROP_ENCODING_RAW_RGB8,
        crop_size_px=shape.size_px,
        crop_margin=shape.margin,
    )


async def _collect(stream: CellStream[_Response], note: Callable[[_Response], None]) -> None:
    async for response in stream.answers():
        note(response)


class _Findings:
    """What is known of a field so far."""

    def __init__(self, field: FieldOrder, options: AnalyzeOptions) -> None:
        self._field_id = field.field_id
        self._um_per_px = field.um_per_px
        self._options = options
        self._keep_crops = options.crop_encoding is not CropEncoding.NONE
        self._info: detector_pb2.FieldInfo | None = None
        self._detections: list[cells_pb2.Detection] = []
        self._crops: dict[str, cells_pb2.Crop] = {}
        self._classifications: dict[str, cells_pb2.Classification] = {}
        self._white: set[str] = set()
        self._screen: cells_pb2.ScreenFinding | None = None
        self._screened: dict[str, cells_pb2.ScreenFinding] = {}
        self._provenances: list[cells_pb2.Provenance] = []

    def add(self, response: detector_pb2.DetectResponse) -> list[classifier_pb2.CellToClassify]:
        """Note what the detector found, and return what there is to classify in it."""
        if response.HasField("field"):
            self._info = response.field
        self._detections += response.detections
        self._white |= {
            found.cell_id for found in response.detections if found.kind == cells_pb2.CELL_KIND_WBC
        }
        if self._keep_crops:
            self._crops |= {crop.cell_id: crop for crop in response.crops}
        boxes = {detection.cell_id: detection.box for detection in response.detections}
        return [
            classifier_pb2.CellToClassify(field_id=self._field_id, crop=crop, box=boxes.get(crop.cell_id))
            for crop in response.crops
        ]

    def name(self, response: classifier_pb2.ClassifyResponse) -> None:
        """Note what the classifier said."""
        self._provenances.append(response.provenance)
        for cell in response.cells:
            self._classifications[cell.cell_id] = classification_of(cell)

    def to_screen(
        self, crops: Iterable[classifier_pb2.CellToClassify]
    ) -> list[classifier_pb2.CellToClassify]:
        """Those of some crops, noted before, that the leukemia screen is to look at: the white cells."""
        if not self._options.screen:
            return []
        return [crop for crop in crops if crop.crop.cell_id in self._white]

    def screen_field(self, response: classifier_pb2.ScreenFieldResponse) -> None:
        """Note what the screen said of the field as a whole."""
        self._screen = response.finding
        self._provenances.append(cells_pb2.Provenance(screens=[response.model]))

    def screen_cells(self, response: classifier_pb2.ScreenCellsResponse) -> None:
        """Note what the screen said of cells."""
        self._provenances.append(cells_pb2.Provenance(screens=[response.model]))
        for cell in response.cells:
            self._screened[cell.cell_id] = finding_of(cell)

    def analysis(self) -> FieldAnalysis:
        """All of it, once detector and classifier are done."""
        if self._info is None:
            raise Internal("the detector said nothing of the field")
        if self._options.screen and self._screen is None:
            raise Internal("the screen said nothing of the field")
        wanted = {kind_to_proto(kind) for kind in self._options.kinds}
        counts = Counter(kind_from_proto(detection.kind) for detection in self._detections)
        return FieldAnalysis(
            width_px=self._info.width_px,
            height_px=self._info.height_px,
            image_sha256=self._info.image_sha256,
            um_per_px=self._um_per_px,
            cells=tuple(self._cell(found) for found in self._detections if found.kind in wanted),
            kind_counts={kind: counts[kind] for kind in Kind},
            provenance=merge_provenances([self._info.provenance, *self._provenances]),
            screen=self._screen,
        )

    def _cell(self, detection: cells_pb2.Detection) -> AnalyzedCell:
        classification = self._classifications.get(detection.cell_id)
        if classification is None:
            raise Internal("the detector sent no crop of a cell")
        screen = self._screened.get(detection.cell_id)
        if self._options.screen and screen is None and detection.kind == cells_pb2.CELL_KIND_WBC:
            raise Internal("a white cell was not screened")
        return AnalyzedCell(detection, classification, self._crops.get(detection.cell_id), screen)
