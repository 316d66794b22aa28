"""Fields in one folder a class of the leukemia screen."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hemaserve.evaluation.datasets import images_in, subfolders, wrong_folder


@dataclass(frozen=True, slots=True)
class ScreenField:
    """A field, and the class of the screen that its folder is named after."""

    path: Path
    label: str


def read_screen_folders(folder: Path, classes: Sequence[str]) -> list[ScreenField]:
    """The fields of each class; case, plural and punctuation of the folders' names do not matter.

    Args:
        classes: what the screening network tells apart.

    Raises:
        InvalidArgument: a folder is named after none of the classes, or there is no image at all.
    """
    by_key = {_key(name): name for name in classes}
    fields: list[ScreenField] = []
    for subfolder in subfolders(folder):
        key = _key(subfolder.name)
        label = by_key.get(key) or by_key.get(key.removesuffix("s"))
        if label is None:
            raise wrong_folder(
                f"folder {subfolder.name!r} is named after no class of the screen", ", ".join(classes)
            )
        fields += [ScreenField(path, label) for path in images_in(subfolder)]
    if not fields:
        raise wrong_folder("no images in it", f"one folder a class with images in it: {', '.join(classes)}")
    return fields


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.casefold())
