"""Where training finds its inputs and leaves its outputs."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

REPOSITORY = Path(__file__).resolve().parent.parent


class Settings(BaseSettings):
    """Read from the environment: ``HEMASERVE_DATA``, ``HEMASERVE_WEIGHTS`` and so on."""

    model_config = SettingsConfigDict(env_prefix="HEMASERVE_", frozen=True, use_attribute_docstrings=True)

    data: Path = Field(default=REPOSITORY.parent / "shared" / "data")
    """Folder with ``pbc/`` and ``smear_fields/`` (their layout: training/README.md)."""

    weights: Path = Field(default=REPOSITORY.parent / "shared" / "weights")
    """Folder with the COCO-pretrained state dictionaries of the detectors."""

    runs: Path = Field(default=REPOSITORY / "training" / "runs")
    """Checkpoints, caches and logs; never committed."""

    results: Path = Field(default=REPOSITORY / "training" / "results")
    """Machine-readable figures of each network; committed."""

    reports: Path = Field(default=REPOSITORY / "docs" / "models")
    """Pictures of each network's training and figures; committed, and linked from the model cards."""

    model_repository: Path = Field(default=REPOSITORY / "model_repository")
    """Triton's model repository that the export writes."""

    threads: int = Field(default=2, ge=1)
    """CPU threads that torch may use."""

    mixed_precision: bool | None = None
    """Whether training and measuring compute in bfloat16 where that is safe; by default on a GPU. Some CPUs gain from
    it too, with some networks: twice the speed for plain convolutions, half of it for depthwise ones."""

    save_every_s: float = 0.0
    """Least time between two checkpoints, in seconds; by default there is one after every epoch."""

    without_bccd: bool = False
    """Use the networks as they were before they saw any of BCCD: the stand-in for a stranger's laboratory."""

    seed: int = 20260101
    """Seed of every split, shuffle and initialisation."""

    def mixes_precision(self, device: str) -> bool:
        """Whether to compute in bfloat16 on a device of this type, `cpu` or `cuda`."""
        return device == "cuda" if self.mixed_precision is None else self.mixed_precision


@cache
def settings() -> Settings:
    """The settings, read once. Also points ultralytics' own configuration into the runs folder."""
    loaded = Settings()
    os.environ.setdefault("YOLO_CONFIG_DIR", str(loaded.runs / "ultralytics"))
    return loaded
