"""Ray Serve.

As many replicas as cores, a core each (https://docs.ray.io/en/latest/serve/advanced-guides/performance.html), and where
there are batches, `serve.batch` with `max_ongoing_requests` above the batch
(https://docs.ray.io/en/latest/serve/advanced-guides/dyn-req-batch.html).
"""

import asyncio
import logging
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ray
from ray import serve
from ray.serve.schema import LoggingConfig
from starlette.requests import Request
from starlette.responses import Response

from benchmarks.peers.answers import FieldAnswer
from benchmarks.peers.serving import open_pipeline
from benchmarks.peers.settings import Settings

SETTINGS = Settings.from_environment()
QUIET = LoggingConfig(log_level="WARNING", enable_access_log=False)


@serve.deployment(
    num_replicas=SETTINGS.processes,
    ray_actor_options={"num_cpus": 1},
    max_ongoing_requests=max(8, 4 * SETTINGS.max_batch),
    logging_config=QUIET,
)
class Fields:
    """Analyses fields."""

    def __init__(self) -> None:
        self._pipeline = open_pipeline(SETTINGS)
        self._lane = ThreadPoolExecutor(1)

    async def __call__(self, request: Request) -> Response:
        """One field."""
        image = await request.body()
        answer = await (self.together(image) if SETTINGS.max_batch > 1 else self.alone(image))
        return Response(answer.to_json(), media_type="application/json")

    async def alone(self, image: bytes) -> FieldAnswer:
        """The answer about one image."""
        return (await self._analyze([image]))[0]

    @serve.batch(max_batch_size=SETTINGS.max_batch, batch_wait_timeout_s=SETTINGS.wait_ms / 1000)
    async def together(self, images: list[bytes]) -> list[FieldAnswer]:
        """The answers about those that came together."""
        return await self._analyze(images)

    async def _analyze(self, images: list[bytes]) -> list[FieldAnswer]:
        return await asyncio.get_running_loop().run_in_executor(self._lane, self._pipeline.analyze, images)


def main() -> None:
    ray.init(
        num_cpus=SETTINGS.processes,
        include_dashboard=False,
        logging_level=logging.WARNING,
        object_store_memory=100 * 2**20,
    )
    serve.start(http_options={"host": "127.0.0.1", "port": SETTINGS.port}, logging_config=QUIET)
    fields: Any = Fields  # the decorator made a deployment of it
    serve.run(fields.bind(), route_prefix="/analyze")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    stop.wait()
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main()
