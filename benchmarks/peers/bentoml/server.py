"""BentoML, as `bentoml serve` starts it."""

import os
import sys
from pathlib import Path

from benchmarks.peers.settings import Settings


def main() -> None:
    settings = Settings.from_environment()
    bentoml = str(Path(sys.executable).with_name("bentoml"))
    os.execv(
        bentoml,
        [
            bentoml,
            "serve",
            "benchmarks.peers.bentoml.service:Fields",
            *("--host", "127.0.0.1", "--port", str(settings.port)),
        ],
    )


if __name__ == "__main__":
    main()
