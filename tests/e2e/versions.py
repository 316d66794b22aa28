"""A second version of the smallest network, made of the first one's file: what it says of a cell is known exactly."""

import re
import shutil
from pathlib import Path

from services.stack.requirements import model_repository

MODEL = "xception"
CANDIDATE = "xception-2"
DETECTOR = "yolov5n"
SWAPPED = ("lymphocyte", "eosinophil")
"""What one version calls the one, the other calls the other."""


def with_two_versions(folder: Path) -> Path:
    """A model repository with the network and, beside it, the same file with two of its types exchanged."""
    repository = folder / "repository"
    for name in (MODEL, DETECTOR):
        shutil.copytree(model_repository() / name, repository / name)
    shutil.copytree(repository / MODEL, repository / CANDIDATE)
    for path in (repository / CANDIDATE).rglob("*.pbtxt"):
        text = path.read_text().replace(f'name: "{MODEL}"', f'name: "{CANDIDATE}"')
        path.write_text(re.sub("|".join(SWAPPED), lambda found: exchanged(found[0]), text))
    return repository


def exchanged(cell_type: str) -> str:
    """What the other version calls a cell of this type."""
    return dict([SWAPPED, SWAPPED[::-1]]).get(cell_type, cell_type)
