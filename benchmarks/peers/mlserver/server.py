"""MLServer, as `mlserver start` starts it.

As many inference workers as cores (https://docs.seldon.ai/mlserver/user-guide/parallel-inference) and, where there are
batches, adaptive batching (https://docs.seldon.ai/mlserver/user-guide/adaptive-batching).
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.peers.ports import free_port
from benchmarks.peers.settings import Settings


def main() -> None:
    settings = Settings.from_environment()
    folder = Path(tempfile.mkdtemp(prefix="hemaserve-mlserver-"))
    server = {
        "host": "127.0.0.1",
        "http_port": settings.port,
        "grpc_port": free_port(),
        "metrics_port": free_port(),
        "parallel_workers": settings.processes,
        "debug": False,
    }
    model: dict[str, Any] = {"name": "hemaserve", "implementation": "benchmarks.peers.mlserver.model.Fields"}
    if settings.max_batch > 1:
        model |= {"max_batch_size": settings.max_batch, "max_batch_time": settings.wait_ms / 1000}
    (folder / "settings.json").write_text(json.dumps(server), encoding="utf-8")
    (folder / "model-settings.json").write_text(json.dumps(model), encoding="utf-8")
    mlserver = str(Path(sys.executable).with_name("mlserver"))
    os.execv(mlserver, [mlserver, "start", str(folder)])


if __name__ == "__main__":
    main()
