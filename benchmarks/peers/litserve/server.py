"""LitServe.

As many workers as cores, as its documentation says of CPUs (https://lightning.ai/docs/litserve/api-reference/litserver),
and batches of what has come in a short time (https://lightning.ai/docs/litserve/features/batching).
"""

from typing import Annotated, Any

import litserve
from fastapi import Body

from benchmarks.peers.answers import FieldAnswer
from benchmarks.peers.serving import open_pipeline
from benchmarks.peers.settings import Settings


class FieldApi(litserve.LitAPI):
    """One field a request."""

    def setup(self, device: str) -> None:  # noqa: ARG002 - it is the CPU
        """In each worker."""
        self._pipeline = open_pipeline(Settings.from_environment())

    def decode_request(self, request: Annotated[bytes, Body(media_type="application/octet-stream")]) -> bytes:
        """The image file, decoded with the others of its batch."""
        return request

    def predict(self, x: Any) -> Any:
        """A list of image files where there are batches, else one."""
        if isinstance(x, list):
            return self._pipeline.analyze(x)
        return self._pipeline.analyze([x])[0]

    def encode_response(self, output: FieldAnswer) -> dict[str, Any]:
        """One field's answer."""
        return output.to_dict()


def main() -> None:
    settings = Settings.from_environment()
    api = FieldApi(
        max_batch_size=settings.max_batch, batch_timeout=settings.wait_ms / 1000, api_path="/analyze"
    )
    server = litserve.LitServer(
        api, accelerator="cpu", devices=1, workers_per_device=settings.processes, timeout=120
    )
    server.run(
        host="127.0.0.1",
        port=settings.port,
        num_api_servers=1,
        log_level="warning",
        generate_client_file=False,
    )


if __name__ == "__main__":
    main()
