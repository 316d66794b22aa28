"""The fields that speed is measured with: photographs where they are, generated ones elsewhere."""

import hashlib
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from PIL import Image

DATA_ENV: Final = "HEMASERVE_DATA"
SETS: Final = ("bccd/val/images", "smear_fields/images/val")
"""Folders of whole fields; as many from the one as from the other, evenly spread over their names."""

SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})


@dataclass(frozen=True, slots=True)
class Images:
    """Some image files.

    Attributes:
        files: their bytes.
        source: where they are from, in words.
    """

    files: tuple[bytes, ...]
    source: str

    def facts(self) -> dict[str, Any]:
        """What a measurement's figures depend on."""
        digest = hashlib.sha256()
        for file in self.files:
            digest.update(hashlib.sha256(file).digest())
        return {
            "source": self.source,
            "count": len(self.files),
            "mean_kb": round(sum(map(len, self.files)) / len(self.files) / 1000, 1),
            "sha256": digest.hexdigest(),
        }


def fields(count: int, data: Path | None = None) -> Images:
    """So many fields: photographs of `data`, by default of the folder in HEMASERVE_DATA, or else generated PNGs.

    Raises:
        SystemExit: there are fewer photographs than asked for.
    """
    folder = data or (Path(found) if (found := os.environ.get(DATA_ENV)) else None)
    return generated(count) if folder is None else photographs(folder, count)


def photographs(folder: Path, count: int) -> Images:
    """Fields of both sets in turn."""
    sets = [
        _spread([path for path in sorted((folder / name).glob("*")) if path.suffix.lower() in SUFFIXES], half)
        for name, half in zip(SETS, (count - count // 2, count // 2), strict=True)
    ]
    paths = [path for pair in zip(*sets, strict=False) for path in pair]
    paths += [path for one in sets for path in one if path not in paths]
    if len(paths) < count:
        raise SystemExit(f"{folder} has {len(paths)} of {count} fields in {' and '.join(SETS)}")
    return Images(tuple(path.read_bytes() for path in paths), f"photographs: {', '.join(SETS)}")


def _spread(paths: Sequence[Path], count: int) -> list[Path]:
    """So many of the paths, evenly."""
    return [paths[place * len(paths) // count] for place in range(min(count, len(paths)))]


def generated(
    count: int, *, width: int = 640, height: int = 480, white_cells: int = 3, red_cell_px: float = 74.0
) -> Images:
    """Drawn fields as PNG files; the same each time."""
    from hemaserve import synthetic  # noqa: PLC0415 - slow to import

    files = tuple(
        synthetic.encode_png(
            synthetic.generate_field(
                seed, width=width, height=height, white_cells=white_cells, red_cell_px=red_cell_px
            ).image
        )
        for seed in range(count)
    )
    return Images(files, f"generated: {width}x{height} px, {white_cells} white cells, PNG")


def of_size(image: Image.Image, size_bytes: int) -> bytes:
    """The image as the JPEG file whose size is nearest to so many bytes."""
    files = [_jpeg(image, quality) for quality in range(30, 101)]
    return min(files, key=lambda file: abs(len(file) - size_bytes))


def _jpeg(image: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()
