"""A place of its own for every test: data, runs, figures and pictures lie in a temporary folder."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training.settings import Settings, settings

SaveImage = Callable[..., Path]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    for name in ("data", "weights", "runs", "results", "reports", "model_repository"):
        monkeypatch.setenv(f"HEMASERVE_{name.upper()}", str(tmp_path / name))
    monkeypatch.setenv("HEMASERVE_THREADS", "1")
    monkeypatch.delenv("HEMASERVE_WITHOUT_BCCD", raising=False)
    settings.cache_clear()
    yield settings()
    settings.cache_clear()


@pytest.fixture
def save_image(place: Settings) -> SaveImage:
    """Writes a picture of noise below the data folder."""

    def save(name: str, width: int = 32, height: int = 32) -> Path:
        path = place.data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(len(name)).integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(noise).save(path)
        return path

    return save
