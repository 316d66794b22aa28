"""Site profiles by name: files in one folder, read again when they change, so that a new one needs no restart."""

import hashlib
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog

from hemaserve.errors import InvalidArgument
from hemaserve.imaging import RgbImage
from hemaserve.site_profile import (
    MAX_BYTES,
    NAME_RULE,
    SUFFIX,
    SiteProfile,
    UnusableProfile,
    correct,
    from_json,
    is_name,
)

_log = structlog.get_logger(__name__)

_FIELD = "site_profile"
_MOST_NAMES_TOLD = 20

_Version = tuple[int, int, int]
"""What changes when a file does: inode, time of change in nanoseconds, size in bytes."""


@dataclass(frozen=True, slots=True)
class StoredProfile:
    """A profile that can be used, and the SHA-256 of its file in lower-case hexadecimal."""

    profile: SiteProfile
    sha256: str

    def correct(self, crops: RgbImage) -> RgbImage:
        """Crops uint8 [N, size, size, 3] with the site's colours corrected; the ones given stay as they are."""
        return correct(self.profile.correction, crops)


class SiteProfiles:
    """The site profiles in a folder, which need not exist. Its methods read files: call them off the event loop.

    Safe for many threads: the worst that a race costs is that a file is read twice.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, tuple[_Version, StoredProfile | None]] = {}

    def get(self, name: str) -> StoredProfile:
        """The profile of that name.

        Raises:
            InvalidArgument: no profile may have this name, there is none, or its file cannot be used.
        """
        if not is_name(name):
            raise InvalidArgument(_FIELD, "not a profile's name", NAME_RULE, reason="SITE_PROFILE_NAME")
        try:
            stored = self._stored(name)
        except FileNotFoundError:
            raise InvalidArgument(
                _FIELD, f"no site profile {name!r}", self._allowed(), reason="SITE_PROFILE_NOT_FOUND"
            ) from None
        if stored is None:
            value = f"the file of site profile {name!r} cannot be used"
            raise InvalidArgument(_FIELD, value, self._allowed(), reason="SITE_PROFILE_UNUSABLE")
        return stored

    def all(self) -> list[StoredProfile]:
        """All profiles that can be used, by name."""
        return list(self._usable())

    def _usable(self) -> Iterator[StoredProfile]:
        try:
            names = sorted(path.stem for path in self._folder.glob(f"*{SUFFIX}") if is_name(path.stem))
        except OSError:  # a folder that may not be read holds nothing that could be served
            return
        for name in names:
            try:
                stored = self._stored(name)
            except FileNotFoundError:  # gone since it was listed
                continue
            if stored is not None:
                yield stored

    def _stored(self, name: str) -> StoredProfile | None:
        """The profile in the file of that name; None when it cannot be used, which is logged once for each version.

        Raises:
            FileNotFoundError: there is no such file.
        """
        path = self._folder / f"{name}{SUFFIX}"
        try:
            found = path.stat()
        except FileNotFoundError:
            self._known.pop(name, None)
            raise
        if not stat.S_ISREG(found.st_mode):  # a pipe would keep us waiting
            raise FileNotFoundError(name)
        version = (found.st_ino, found.st_mtime_ns, found.st_size)
        known = self._known.get(name)
        if known is None or known[0] != version:
            known = self._known[name] = (version, _read(path, name))
        return known[1]

    def _allowed(self) -> str:
        names = [stored.profile.name for stored in self._usable()]
        more = ["..."] if len(names) > _MOST_NAMES_TOLD else []
        return ", ".join([*names[:_MOST_NAMES_TOLD], *more]) or "none: this service has no site profiles"


def _read(path: Path, name: str) -> StoredProfile | None:
    try:
        return _stored_profile(path, name)
    except UnusableProfile as error:
        problem = str(error)
    except OSError:
        problem = "the file cannot be read"
    _log.error("site_profile_unusable", site_profile=name, problem=problem)
    return None


def _stored_profile(path: Path, name: str) -> StoredProfile:
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    profile = from_json(data)
    if profile.name != name:
        raise UnusableProfile("the name in it is not that of its file")
    return StoredProfile(profile, hashlib.sha256(data).hexdigest())
