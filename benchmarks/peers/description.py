"""The pipeline, described: which networks, and how they are used. Our services read it from Triton, peers here."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from hemaserve.cells import CellType, Kind
from services.classifier.decision import Thresholds
from services.detector.tiling import TilingPolicy


@dataclass(frozen=True, slots=True)
class DetectorDescription:
    """The detection network and how it is used; the words are those of services/detector."""

    file: str
    input_px: int
    max_batch_size: int
    kinds: tuple[Kind, ...]
    score_thresholds: dict[Kind, float]
    nms_iou: float
    tiling: TilingPolicy


@dataclass(frozen=True, slots=True)
class EnsembleDescription:
    """The classification ensemble and how it votes; the words are those of services/classifier."""

    members: tuple[str, ...]
    files: tuple[str, ...]
    max_batch_size: int
    leaf_types: tuple[CellType, ...]
    crop_size_px: int
    crop_margin: float
    vote_temperature: float
    thresholds: Thresholds


@dataclass(frozen=True, slots=True)
class Description:
    """The whole pipeline, and the SHA-256 of each of its files by name."""

    detector: DetectorDescription
    ensemble: EnsembleDescription
    sha256: dict[str, str]

    def write(self, path: Path) -> None:
        """Write it down for a peer."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Self:
        """What `write` wrote.

        Raises:
            OSError, KeyError, TypeError, ValueError: it is nothing of the kind.
        """
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        detector, ensemble = found["detector"], found["ensemble"]
        return cls(
            DetectorDescription(
                **detector
                | {
                    "kinds": tuple(map(Kind, detector["kinds"])),
                    "score_thresholds": {Kind(k): v for k, v in detector["score_thresholds"].items()},
                    "tiling": TilingPolicy(**detector["tiling"]),
                }
            ),
            EnsembleDescription(
                **ensemble
                | {
                    "members": tuple(ensemble["members"]),
                    "files": tuple(ensemble["files"]),
                    "leaf_types": tuple(map(CellType, ensemble["leaf_types"])),
                    "thresholds": Thresholds(**ensemble["thresholds"]),
                }
            ),
            found["sha256"],
        )
