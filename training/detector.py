"""Fine-tune a COCO-pretrained YOLO on the smear fields, with ultralytics' trainer."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import torch
import yaml
from numpy.typing import NDArray

from hemaserve import imaging
from training.settings import settings
from training.torchvision_shim import install

settings()  # points ultralytics' configuration into the runs folder, before it is imported
install()

from ultralytics.models import YOLO  # noqa: E402 - needs the shim

log = logging.getLogger(__name__)

#: The detector's kinds, in the order of the label files' class numbers.
KINDS = ("wbc", "rbc", "platelet")

#: Side of the square the detector sees, in pixels.
INPUT_PX = 416


@dataclass(frozen=True, slots=True)
class DetectorRecipe:
    """How one detector is trained.

    Attributes:
        name: the run's and the model's name.
        title: the name that people read.
        architecture: ultralytics' YAML name.
        weights: file of the starting state dictionary, in the weights folder.
        epochs: passes over the training fields.
        close_mosaic: the last epochs, in which fields are shown whole, as they are served.
        batch: fields per optimiser step.
    """

    name: str = "yolov8n"
    title: str = "YOLOv8n, 416 px"
    architecture: str = "yolov8n.yaml"
    weights: str = "yolov8n_coco_state_dict.pt"
    epochs: int = 10
    close_mosaic: int = 3
    batch: int = 16

    @property
    def folder(self) -> Path:
        return settings().runs / "detector" / self.name

    @property
    def best(self) -> Path:
        return self.folder / "weights" / "best.pt"

    @property
    def last(self) -> Path:
        return self.folder / "weights" / "last.pt"


#: A smear has no up or down, cells differ in size with the camera's scale, and stains differ in colour between
#: laboratories far more than within one: flips both ways, strong scale and colour jitter, no perspective.
AUGMENTATION: dict[str, float] = {
    "hsv_h": 0.03,
    "hsv_s": 0.6,
    "hsv_v": 0.35,
    "flipud": 0.5,
    "fliplr": 0.5,
    "scale": 0.4,
    "translate": 0.1,
    "mosaic": 0.7,
    "erasing": 0.0,
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
        imgsz=INPUT_PX,
        epochs=recipe.epochs,
        batch=recipe.batch,
        nbs=recipe.batch,  # an optimiser step per batch: epochs are too few to accumulate gradients
        device="cuda" if torch.cuda.is_available() else "cpu",
        workers=0 if settings().threads <= 2 else 4,
        cache="ram",
        optimizer="AdamW",
        lr0=1e-3,
        lrf=0.02,
        cos_lr=True,
        warmup_epochs=1.0,
        warmup_bias_lr=1e-3,
        close_mosaic=recipe.close_mosaic,
        seed=settings().seed,
        project=str(recipe.folder.parent),
        name=recipe.name,
        exist_ok=True,
        plots=False,
        amp=torch.cuda.is_available(),
        **AUGMENTATION,
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
        path = settings().model_repository / recipe.name / "1" / "model.onnx"
        options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": settings().threads}
        self._network = openvino.compile_model(str(path), "CPU", options)

    def predict(
        self, images: list[imaging.RgbImage]
    ) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """For each image all boxes [A, 4] in its own pixels, unsuppressed, and their kinds' scores [A, kinds]."""
        squares, ways_back = zip(*(imaging.letterbox(image, INPUT_PX) for image in images), strict=True)
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
    """Wrap the plain COCO state dictionary as a checkpoint that ultralytics can start from.

    Its trainer then transfers every tensor whose name and shape match the network with our three classes, which
    is all but the last class layers.
    """
    path = recipe.folder / "start.pt"
    yolo: Any = YOLO(recipe.architecture)
    state = torch.load(settings().weights / recipe.weights, map_location="cpu", weights_only=True)
    own = yolo.model.state_dict()
    matching = {
        name: tensor for name, tensor in state.items() if name in own and own[name].shape == tensor.shape
    }
    yolo.model.load_state_dict(matching, strict=False)
    log.info("%d of %d tensors start from %s", len(matching), len(own), recipe.weights)
    yolo.save(path)
    return path


def _dataset_yaml(recipe: DetectorRecipe) -> Path:
    """Describe the fields to ultralytics: it wants a YAML file, and a writable folder for its label cache."""
    root = recipe.folder / "dataset"
    for kind in ("images", "labels"):
        for split in ("train", "val"):
            link = root / kind / split
            link.mkdir(parents=True, exist_ok=True)
            for source in (settings().data / "smear_fields" / kind / split).iterdir():
                target = link / source.name
                if not target.is_symlink():
                    target.symlink_to(source.resolve())
    path = recipe.folder / "dataset.yaml"
    names = dict(enumerate(KINDS))
    path.write_text(
        yaml.safe_dump({"path": str(root), "train": "images/train", "val": "images/val", "names": names})
    )
    return path
