"""BentoML's service.

As many workers as cores (https://docs.bentoml.com/en/latest/build-with-bentoml/parallelize-requests.html) and, where
there are batches, adaptive batching (https://docs.bentoml.com/en/latest/get-started/adaptive-batching.html).
"""

from pathlib import Path
from typing import Annotated, Any

import bentoml
from bentoml.validators import ContentType

from benchmarks.peers.serving import open_pipeline
from benchmarks.peers.settings import Settings

SETTINGS = Settings.from_environment()


@bentoml.service(workers=SETTINGS.processes, traffic={"timeout": 120}, logging={"access": {"enabled": False}})
class Fields:
    """Analyses fields."""

    def __init__(self) -> None:
        self._pipeline = open_pipeline(SETTINGS)

    if SETTINGS.max_batch > 1:

        @bentoml.api(
            route="/analyze",
            batchable=True,
            max_batch_size=SETTINGS.max_batch,
            max_latency_ms=int(SETTINGS.wait_ms) or 60_000,
        )
        def analyze(self, images: list[Path]) -> list[dict[str, Any]]:
            """Those that came together."""
            return [
                answer.to_dict() for answer in self._pipeline.analyze([path.read_bytes() for path in images])
            ]

    else:

        @bentoml.api(route="/analyze")
        def analyze(
            self, image: Annotated[Path, ContentType("application/octet-stream")], /
        ) -> dict[str, Any]:
            """One field."""
            return self._pipeline.analyze([image.read_bytes()])[0].to_dict()
