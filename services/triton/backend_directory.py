"""Assembles the folder that Triton takes its backends from: the wheel's Python backend, its stub, and ours."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

from services.triton.wheel import TritonWheel

OWN_BACKENDS = Path(__file__).parent / "backends"


def default_cache() -> Path:
    """The user's cache folder for HemaServe (``$XDG_CACHE_HOME/hemaserve`` or ``~/.cache/hemaserve``)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hemaserve"


def backend_directory(wheel: TritonWheel, cache: Path, own_backends: Path = OWN_BACKENDS) -> Path:
    """The backend directory for this wheel, this Python and this state of our backends; assembled if need be.

    Its name is made of all that it depends on, it appears by a rename and is never changed afterwards, so that any
    number of processes may ask at once and running servers keep the one they started with.

    Args:
        wheel: what to assemble from.
        cache: folder under which to assemble.
        own_backends: our backends, one folder each.

    Raises:
        OSError: the cache folder cannot be written.
    """
    python_version = f"{sys.version_info.major}.{sys.version_info.minor}"
    key = f"{wheel.version}-python{python_version}-{_digest(own_backends)}"
    target = cache / "triton-backends" / key
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=target.parent))
    try:
        # Copies, not links: the stub finds its backend's other files through its own real path.
        shutil.copytree(wheel.python_backend, draft / "python", ignore=_compiled)
        shutil.copy2(wheel.stub, draft / "python" / wheel.stub.name)
        for backend in _backends(own_backends):
            shutil.copytree(backend, draft / backend.name, ignore=_compiled)
        draft.chmod(0o755)
        try:
            draft.rename(target)
        except OSError:
            if not target.exists():  # another process was first: its result is the same
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return target


_compiled = shutil.ignore_patterns("__pycache__", "*.pyc")


def _backends(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.glob("*/model.py"))


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(file for backend in _backends(folder) for file in backend.rglob("*.py")):
        digest.update(f"{path.relative_to(folder)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]
