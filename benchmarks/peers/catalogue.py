"""The peers: where each one's environment and server are, and how it is set up for throughput on this machine."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

import psutil

from benchmarks.peers.settings import Settings

HERE: Final = Path(__file__).parent
ENVIRONMENTS: Final = HERE.parents[1] / ".peers"
"""Where the peers' environments are made; not in the repository."""

CORES: Final = psutil.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class Peer:
    """A peer.

    Attributes:
        environment: its folder here, with its requirements.txt, and the folder of its environment.
        module: what is run there.
        settings: those that were best of those that were tried; see README.md.
    """

    environment: str
    module: str
    settings: Settings

    @property
    def python(self) -> Path:
        """The interpreter of its environment."""
        return ENVIRONMENTS / self.environment / "bin" / "python"

    @property
    def requirements(self) -> Path:
        """What its environment is made of."""
        return HERE / self.environment / "requirements.txt"


def _peer(name: str, settings: Settings) -> Peer:
    return Peer(name, f"benchmarks.peers.{name}.server", settings)


_A_PROCESS_A_CORE: Final = Settings(processes=CORES, threads=1)
_IN_BATCHES: Final = Settings(processes=CORES, threads=1, max_batch=4, wait_ms=10.0)

PEERS: Final[Mapping[str, Peer]] = MappingProxyType(
    {
        "fastapi": _peer("fastapi", _A_PROCESS_A_CORE),
        "litserve": _peer("litserve", _IN_BATCHES),
        "bentoml": _peer("bentoml", _A_PROCESS_A_CORE),
        "ray": _peer("ray", _IN_BATCHES),
        "mlserver": _peer("mlserver", _IN_BATCHES),
        "flask": _peer("flask", _A_PROCESS_A_CORE),
        "flask_development": Peer(
            "flask", "benchmarks.peers.flask.app", Settings(processes=1, threads=CORES)
        ),
    }
)
"""All peers by name."""
