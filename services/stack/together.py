"""`python -m services.stack.together PART...`: several parts of the stack in one process, until SIGTERM.

Each is told its settings by the environment variables that it has in a process of its own, listens on addresses of its
own and calls the others over them, so that nothing but the process is shared. Needs the memory of one interpreter and
its libraries instead of one for each; when one part takes the process down, all of them are started again.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from services.classifier.application import service as classifier
from services.classifier.settings import ClassifierSettings
from services.detector.application import service as detector
from services.detector.settings import DetectorSettings
from services.gateway.application import service as gateway
from services.gateway.settings import GatewaySettings
from services.runtime import logs
from services.runtime.decoders import Decoders
from services.runtime.memory import SMALL_BYTES, return_large_blocks
from services.runtime.process import Service, serve_all, until_told_to_stop
from services.stack.profiles import TRITON
from services.triton.embedded import EmbeddedTriton, TritonStartError
from services.triton.settings import TritonSettings
from services.triton.wheel import TritonUnavailable

_SERVICES: Final[dict[str, Callable[[Decoders], Service]]] = {
    "detector": lambda decoders: detector(DetectorSettings(), decoders),
    "classifier": lambda decoders: classifier(ClassifierSettings(), decoders),
    "gateway": lambda decoders: gateway(GatewaySettings(), decoders),
}


def main(parts: list[str]) -> None:
    """Run the parts of these names; exits with status 1 and a message where Triton is one and cannot run."""
    # One for all of them: what calls itself small has one process that decodes.
    decoders = Decoders(1)
    services = [_SERVICES[part](decoders) for part in parts if part != TRITON]
    told = services[0].settings
    logs.configure("stack", level=told.log_level, style=told.log_format)
    return_large_blocks(SMALL_BYTES)
    try:
        asyncio.run(until_told_to_stop(_serving(services, decoders, embed_triton=TRITON in parts)))
    except (TritonUnavailable, TritonStartError, OSError) as error:
        sys.exit(f"error: {error}")


@asynccontextmanager
async def _serving(services: list[Service], decoders: Decoders, *, embed_triton: bool) -> AsyncIterator[None]:
    async with AsyncExitStack() as opened:
        opened.push_async_callback(decoders.close)
        if embed_triton:
            await opened.enter_async_context(EmbeddedTriton(TritonSettings()))
        await opened.enter_async_context(serve_all(services))
        yield


if __name__ == "__main__":
    main(sys.argv[1:])
