"""Where things are: image files from what a person types, and files that commands share."""

import glob
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

IMAGE_SUFFIXES: Final = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


class NoImages(ValueError):
    """Nothing usable is at a path; the message names it."""


def image_files(paths: Iterable[str | Path]) -> list[Path]:
    """The image files that `paths` name, in the order given, each once.

    A file is taken as it is, whatever its suffix. A folder gives the images right inside it, by suffix; a pattern
    (`*`, `?`, `[...]`, `**`) what matches it and is a file with such a suffix. Both in natural order: 2 before 10.

    Raises:
        NoImages: a path does not exist, or a folder or pattern gives no image.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        for file in _expand(str(path)):
            found.setdefault(file.resolve(), file)
    return list(found.values())


def _expand(text: str) -> list[Path]:
    path = Path(text).expanduser()
    if path.is_file():
        return [path]
    if path.is_dir():
        candidates = list(path.iterdir())
        missing = f"no image in the folder {path} (suffixes: {', '.join(IMAGE_SUFFIXES)})"
    elif glob.has_magic(text):
        candidates = [Path(name) for name in glob.glob(str(path), recursive=True)]  # noqa: PTH207 - absolute patterns too
        missing = f"no image matches {text}"
    else:
        raise NoImages(f"no such file or folder: {text}")
    images = [file for file in candidates if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file()]
    if not images:
        raise NoImages(missing)
    return sorted(images, key=_natural)


def _natural(path: Path) -> tuple[list[tuple[int, str]], str]:
    """Digits compare as numbers; the name itself breaks ties such as 1 and 01."""
    text = str(path)
    parts = [
        (int(part), "") if part.isdigit() else (0, part.casefold())
        for part in re.findall(r"[0-9]+|[^0-9]+", text)
    ]
    return parts, text


def site_profiles_folder() -> Path:
    """Where `hemaserve adapt` leaves profiles and `hemaserve up` finds them: $XDG_DATA_HOME/hemaserve/site_profiles."""
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "hemaserve" / "site_profiles"


def access_file() -> Path:
    """Where `hemaserve keys` keeps who may call, unless told otherwise: $XDG_CONFIG_HOME/hemaserve/access.json."""
    config = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(config) / "hemaserve" / "access.json"
