"""What a peer's process is told. Only the standard library: peers import it in environments of their own."""

import json
import os
from dataclasses import asdict, dataclass
from typing import Final, Self

VARIABLE: Final = "HEMASERVE_PEER"
"""The environment variable that holds the settings as JSON."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a peer is set up.

    Attributes:
        processes: how many processes, each with the whole pipeline.
        threads: of each process's networks.
        max_batch: most fields that go through the pipeline together; 1 for no batching.
        wait_ms: how long a field waits for others to go with, in milliseconds.
        throughput: whether OpenVINO is told to go for throughput, with streams of its own choice, instead of being
            given `threads`.
        port: where it listens, on the loopback.
        pipeline: file with the pipeline's description, see `description`.
    """

    processes: int = 2
    threads: int = 1
    max_batch: int = 1
    wait_ms: float = 0.0
    throughput: bool = False
    port: int = 0
    pipeline: str = ""

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_environment(cls) -> Self:
        """The settings that this process was started with.

        Raises:
            KeyError, TypeError: it was started without, or with others.
        """
        return cls(**json.loads(os.environ[VARIABLE]))
