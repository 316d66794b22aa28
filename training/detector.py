"""Fine-tune a COCO-pretrained YOLO on the smear fields, with ultralytics' trainer."""

from __future__ import annotations

import dataclasses
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import openvino
import torch
import yaml
from numpy.typing import NDArray

from hemaserve import imaging
from training import datasets, tile_fields
from training.settings import settings
from training.torchvision_shim import install

settings()  # points ultralytics' configuration into the runs folder, before it is imported
install()

from ultralytics.models import YOLO  # noqa: E402 - needs the shim

log = logging.getLogger(__name__)

#: The detector's kinds, in the order of the label files' class numbers.
KINDS = ("wbc", "rbc", "platelet")

#: Side of the square the detector sees in training, in pixels; Ultralytics rounds it up to a multiple of the stride.
TRAINING_PX = 416

#: Side of the square that it is served with. Fields that are enlarged a little show what is small better than training
#: at that size would for the same time: YOLOv8n trained at 416 px reached mAP50 0.971 at 416 px, 0.978 at 512, 0.975 at
#: 576 and 0.973 at 640 (ultralytics' figures on the validation fields).
INPUT_PX = 512


#: A smear has no up or down, cells differ in size with the camera's scale, and stains differ in colour between
#: laboratories far more than within one: flips both ways, strong scale and colour jitter, no perspective.
AUGMENTATION: Final[Mapping[str, float]] = MappingProxyType(
    {
        "hsv_v": 0.35,
        "flipud": 0.5,
        "fliplr": 0.5,
        "scale": 0.4,
        "translate": 0.1,
        "mosaic": 0.7,
        "erasing": 0.0,
    }
)

#: What Ultralytics does where it is told nothing (8.3).
ULTRALYTICS: Final[Mapping[str, float]] = MappingProxyType(
    {
        "hsv_v": 0.4,
        "flipud": 0.0,
        "fliplr": 0.5,
        "scale": 0.5,
        "translate": 0.1,
        "mosaic": 1.0,
        "erasing": 0.0,
    }
)


@dataclass(frozen=True, slots=True)
class DetectorRecipe:
    """How one detector is trained.

    Attributes:
        name: the run's and the model's name.
        title: the name that people read.
        architecture: ultralytics' YAML name.
        start: where the weights start: a state dictionary in the weights folder, or the name of another recipe; empty
            for nothing.
        epochs: passes over the training fields.
        close_mosaic: the last epochs, in which fields are shown whole, as they are served.
        learning_rate: AdamW's, at the peak of the schedule.
        hue: jitter of the hue either way, as a share of the circle.
        saturation: jitter of the saturation either way, as a share of it.
        tiles: whether PBC tiles of cells that no field has boxes of are learned from as well, see `tile_fields`.
        without: sources of fields that are left out, see `datasets.field_source`.
        batch: fields per optimiser step.
        input_px: side of the square that it is served and measured with.
        augmentation: ultralytics' settings beside `hue` and `saturation`.
        serves: whether it goes into the model repository; those that only repeat a paper's recipe do not.
    """

    name: str
    title: str
    architecture: str
    start: str
    epochs: int
    close_mosaic: int
    learning_rate: float = 1e-3
    hue: float = 0.08
    saturation: float = 0.9
    tiles: bool = False
    without: frozenset[str] = frozenset()
    batch: int = 16
    input_px: int = INPUT_PX
    augmentation: Mapping[str, float] = dataclasses.field(default_factory=lambda: AUGMENTATION)
    serves: bool = True

    @property
    def builds_on(self) -> tuple[str, ...]:
        """Names of the detectors that must have been trained before it."""
        looks_for_tiles = ("yolov8n-base",) if self.tiles else ()
        return tuple(name for name in dict.fromkeys((self.start, *looks_for_tiles)) if name in RECIPES)

    @property
    def exported(self) -> Path:
        """Its ONNX file."""
        repository = settings().model_repository if self.serves else settings().runs / "compared"
        return repository / self.name / "1" / "model.onnx"

    @property
    def is_trained(self) -> bool:
        """Whether it has been trained here, to the end of its schedule."""
        return self.best.exists() and _finished(self.last)

    @property
    def folder(self) -> Path:
        return settings().runs / "detector" / self.name

    @property
    def best(self) -> Path:
        return self.folder / "weights" / "best.pt"

    @property
    def last(self) -> Path:
        return self.folder / "weights" / "last.pt"


def _bhavana(architecture: str, title: str, start: str, input_px: int) -> DetectorRecipe:
    """As Bhavana & Balakrishna have it; what the paper leaves open is as Ultralytics has it."""
    return DetectorRecipe(
        name=f"bhavana_{architecture}",
        title=f"{title}, by the recipe of Bhavana & Balakrishna",
        architecture=f"{architecture}.yaml",
        start=start,
        epochs=30,
        close_mosaic=10,
        hue=0.015,
        saturation=0.7,
        input_px=input_px,
        augmentation=ULTRALYTICS,
        serves=False,
    )


RECIPES: Final = {
    recipe.name: recipe
    for recipe in (
        DetectorRecipe(
            name="yolov8n-base",
            title="YOLOv8n, 512 px, fields only",
            architecture="yolov8n.yaml",
            start="yolov8n_coco_state_dict.pt",
            epochs=6,
            close_mosaic=0,
            hue=0.03,
            saturation=0.6,
        ),
        DetectorRecipe(
            name="yolov8n",
            title="YOLOv8n, 512 px",
            architecture="yolov8n.yaml",
            start="yolov8n-base",
            epochs=7,
            close_mosaic=4,
            learning_rate=6e-4,
            hue=0.03,
            saturation=0.6,
            tiles=True,
        ),
        DetectorRecipe(
            name="yolov5n",
            title="YOLOv5n, 512 px",
            architecture="yolov5n.yaml",
            start="yolov5n_coco_state_dict.pt",
            epochs=4,
            close_mosaic=1,
            tiles=True,
        ),
        DetectorRecipe(
            name="yolov8n-without-bccd",
            title="YOLOv8n, 512 px, that never saw BCCD",
            architecture="yolov8n.yaml",
            start="yolov8n_coco_state_dict.pt",
            epochs=4,
            close_mosaic=1,
            without=frozenset({"bccd"}),
        ),
        DetectorRecipe(
            name="yolov5x6",
            title="YOLOv5x6, 512 px",
            architecture="yolov5x6.yaml",
            start="",
            epochs=30,
            close_mosaic=5,
            learning_rate=5e-4,
        ),
        # 416 px in the paper, which a stride of 64 px makes 448.
        _bhavana("yolov8n", "YOLOv8n, 416 px", "yolov8n_coco_state_dict.pt", 416),
        _bhavana("yolov5x6", "YOLOv5x6, 448 px", "", 448),
    )
}


def train(recipe: DetectorRecipe, resume: bool = True) -> Path:
    """Train the detector, going on from the last epoch's checkpoint where there is one.

    Returns:
        The checkpoint with the best validation mAP.
    """
    if resume and recipe.last.exists() and not _finished(recipe.last):
        log.info("resuming %s", recipe.last)
        yolo = YOLO(recipe.last)
        yolo.add_callback("on_train_start", _use_the_processor)
        yolo.train(resume=True)
        return recipe.best
    recipe.folder.mkdir(parents=True, exist_ok=True)
    yolo = YOLO(_starting_checkpoint(recipe))
    yolo.add_callback("on_train_start", _use_the_processor)
    yolo.train(
        data=str(_dataset_yaml(recipe)),
        imgsz=TRAINING_PX,
        epochs=recipe.epochs,
        batch=recipe.batch,
        nbs=recipe.batch,  # an optimiser step per batch: epochs are too few to accumulate gradients
        device="cuda" if torch.cuda.is_available() else "cpu",
        workers=0 if settings().threads <= 2 else 4,
        cache="ram",
        optimizer="AdamW",
        lr0=recipe.learning_rate,
        lrf=0.02,
        cos_lr=True,
        warmup_epochs=0.5,
        warmup_bias_lr=recipe.learning_rate,
        close_mosaic=recipe.close_mosaic,
        seed=settings().seed,
        project=str(recipe.folder.parent),
        name=recipe.name,
        exist_ok=True,
        plots=False,
        amp=torch.cuda.is_available(),
        hsv_h=recipe.hue,
        hsv_s=recipe.saturation,
        **recipe.augmentation,
    )
    return recipe.best


def exportable(recipe: DetectorRecipe) -> torch.nn.Module:
    """The trained network, batch norms folded, answering [N, 4 + kinds, A] boxes and scores (best checkpoint yet)."""
    yolo: Any = YOLO(recipe.best)
    network: torch.nn.Module = yolo.model.float().fuse().eval()
    head: Any = network.get_submodule("model")[-1]  # type: ignore[index]
    head.export, head.format = True, "onnx"
    return network.requires_grad_(False)


class Runner:
    """The exported detector, fed as in serving: what it finds here is what the services will find."""

    def __init__(self, recipe: DetectorRecipe) -> None:
        options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": settings().threads}
        self._network = openvino.compile_model(str(recipe.exported), "CPU", options)
        self._input_px = recipe.input_px

    def predict(
        self, images: list[imaging.RgbImage]
    ) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """For each image all boxes [A, 4] in its own pixels, unsuppressed, and their kinds' scores [A, kinds]."""
        squares, ways_back = zip(*(imaging.letterbox(image, self._input_px) for image in images), strict=True)
        rows = self._network(np.stack(squares))[0]
        results = []
        for row, way_back in zip(rows, ways_back, strict=True):
            center, size = row[:2].T, row[2:4].T
            corners = np.concatenate([center - size / 2, center + size / 2], axis=1)
            results.append((way_back.to_source(corners), np.ascontiguousarray(row[4:].T)))
        return results


def _use_the_processor(trainer: Any) -> None:
    """Twice the speed on a CPU: ultralytics leaves one core unused, and its convolutions channels first."""
    torch.set_num_threads(settings().threads)
    trainer.model.to(memory_format=torch.channels_last)
    trainer.ema.ema.to(memory_format=torch.channels_last)


def _finished(checkpoint: Path) -> bool:
    """Ultralytics strips the optimiser from the checkpoints of a finished run."""
    return bool(torch.load(checkpoint, map_location="cpu", weights_only=False).get("optimizer") is None)


def _starting_checkpoint(recipe: DetectorRecipe) -> Path:
    """What ultralytics starts from: another recipe's network, or the plain COCO state dictionary wrapped as one.

    Its trainer then transfers every tensor whose name and shape match the network with our three classes, which
    from COCO is all but the last class layers.
    """
    if recipe.start in RECIPES:
        return RECIPES[recipe.start].best
    path = recipe.folder / "start.pt"
    yolo: Any = YOLO(recipe.architecture)
    state: dict[str, torch.Tensor] = {}
    if recipe.start:
        state = torch.load(settings().weights / recipe.start, map_location="cpu", weights_only=True)
    own = yolo.model.state_dict()
    matching = {
        name: tensor for name, tensor in state.items() if name in own and own[name].shape == tensor.shape
    }
    yolo.model.load_state_dict(matching, strict=False)
    log.info("%d of %d tensors start from %s", len(matching), len(own), recipe.start or "nothing")
    yolo.save(path)
    return path


def _dataset_yaml(recipe: DetectorRecipe) -> Path:
    """Describe the fields to ultralytics: it wants a YAML file, and a writable folder for its label cache."""
    root = recipe.folder / "dataset"
    shutil.rmtree(root, ignore_errors=True)
    for split in ("train", "val"):
        images, labels = (root / kind / split for kind in ("images", "labels"))
        images.mkdir(parents=True)
        labels.mkdir(parents=True)
        for field in datasets.smear_fields(split):
            if field.source not in recipe.without:
                (images / field.path.name).symlink_to(field.path.resolve())
                (labels / field.labels.name).symlink_to(field.labels.resolve())
    if recipe.tiles:
        tile_fields.write(root / "images" / "train", root / "labels" / "train", RECIPES["yolov8n-base"].best)
    path = recipe.folder / "dataset.yaml"
    names = dict(enumerate(KINDS))
    path.write_text(
        yaml.safe_dump({"path": str(root), "train": "images/train", "val": "images/val", "names": names})
    )
    return path
