"""FastAPI and OpenVINO, under uvicorn.

Work that would block goes to threads, and there are as many workers as cores:
https://fastapi.tiangolo.com/deployment/server-workers/, each with one OpenVINO stream. The other way that OpenVINO's
documentation advises, one process with the throughput hint and as many requests as it has streams, is the setting
`throughput`.
"""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request, Response

from benchmarks.peers.description import Description
from benchmarks.peers.openvino_networks import ThroughputNetworks
from benchmarks.peers.serving import open_pipeline, warm
from benchmarks.peers.settings import Settings


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    settings = Settings.from_environment()
    lanes = 1
    if settings.throughput:
        description = Description.read(Path(settings.pipeline))
        networks = ThroughputNetworks(description)
        app.state.pipeline = warm(description, networks)
        lanes = networks.streams
    else:
        app.state.pipeline = open_pipeline(settings)
    with ThreadPoolExecutor(lanes) as app.state.lanes:
        yield


app = FastAPI(lifespan=_lifespan)


@app.get("/ready")
async def ready() -> Response:
    """Whether it can be asked."""
    return Response()


@app.post("/analyze")
async def analyze(request: Request) -> Response:
    """One field."""
    image = await request.body()
    loop = asyncio.get_running_loop()
    (answer,) = await loop.run_in_executor(app.state.lanes, app.state.pipeline.analyze, [image])
    return Response(answer.to_json(), media_type="application/json")


def main() -> None:
    settings = Settings.from_environment()
    uvicorn.run(
        "benchmarks.peers.fastapi.server:app",
        host="127.0.0.1",
        port=settings.port,
        workers=settings.processes,
        access_log=False,
        log_level="warning",
    )


if __name__ == "__main__":
    main()
