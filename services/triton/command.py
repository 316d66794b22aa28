"""The command line and environment that the wheel's Triton is started with."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from services.triton.settings import TritonSettings
from services.triton.wheel import TritonWheel

HOST = "127.0.0.1"

LEAN_OPTIONS = (
    "--http-thread-count=1",
    # Each keeps what the largest request that it once held took.
    "--grpc-infer-allocation-pool-size=1",
)
LEAN_ENVIRONMENT = {
    # Blocks of this many bytes and more are never kept (mallopt(3)); those of a network's tensors are larger.
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "MALLOC_ARENA_MAX": "2",
}


@dataclass(frozen=True)
class Ports:
    """The three ports that Triton listens on."""

    grpc: int
    http: int
    metrics: int


def pick_ports(settings: TritonSettings) -> Ports:
    """The configured ports, with free ones for those that are 0.

    A free port may be taken by another process before Triton binds it; Triton then fails to start and says so.
    """
    with ExitStack() as stack:

        def port(configured: int) -> int:
            if configured:
                return configured
            probe = stack.enter_context(
                socket.socket()
            )  # held open until all are picked, so that they differ
            probe.bind((HOST, 0))
            return int(probe.getsockname()[1])

        return Ports(port(settings.grpc_port), port(settings.http_port), port(settings.metrics_port))


def command_line(
    wheel: TritonWheel, settings: TritonSettings, ports: Ports, *, backends: Path, server_id: str
) -> list[str]:
    """``tritonserver`` and its options.

    Args:
        wheel: where the binary lies.
        settings: what to serve.
        ports: where to listen.
        backends: the assembled backend directory.
        server_id: name by which the server answers, and prefix of its shared memory regions.
    """
    control = ["--model-control-mode=none"]
    if settings.models:
        control = ["--model-control-mode=explicit", *(f"--load-model={name}" for name in settings.models)]
    return [
        str(wheel.binary),
        f"--id={server_id}",
        f"--model-repository={settings.repository.absolute()}",
        f"--model-config-name={settings.config_name}",
        *control,
        # One broken model must neither keep the others from serving nor the server from being ready;
        # whoever needs a model asks for that model's readiness.
        "--exit-on-error=false",
        "--strict-readiness=false",
        *([] if settings.auto_complete else ["--disable-auto-complete-config"]),
        f"--model-load-thread-count={max(2, os.cpu_count() or 1)}",
        f"--backend-directory={backends}",
        f"--backend-config=python,shm-region-prefix-name={server_id}",
        f"--grpc-address={settings.host}",
        f"--grpc-port={ports.grpc}",
        # Its clients ask whether it is alive while they wait for an answer, see hemaserve/balancing.py.
        "--grpc-http2-min-recv-ping-interval-without-data=1000",
        f"--http-address={settings.host}",
        f"--http-port={ports.http}",
        f"--metrics-address={settings.host}",
        f"--metrics-port={ports.metrics}",
        *tracing(settings),
        *(LEAN_OPTIONS if settings.lean else ()),
        "--allow-gpu-metrics=false",
        "--pinned-memory-pool-byte-size=0",
        f"--exit-timeout-secs={max(1, round(settings.stop_timeout_s))}",
        f"--log-verbose={settings.log_verbose}",
    ]


def tracing(settings: TritonSettings) -> tuple[str, ...]:
    """Its options that send spans to `trace_url`; none without it."""
    if not settings.trace_url:
        return ()
    return (
        "--trace-config=mode=opentelemetry",
        f"--trace-config=opentelemetry,url={settings.trace_url}",
        "--trace-config=opentelemetry,resource=service.name=hemaserve-triton",
        "--trace-config=level=TIMESTAMPS",
        # No traces of its own making: only what requests with a trace context ask for.
        "--trace-config=rate=0",
    )


def environment(
    wheel: TritonWheel, settings: TritonSettings, *, cache: Path, base: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Environment variables for Triton and, through it, its Python stubs.

    Args:
        wheel: whose libraries are needed.
        settings: what is served.
        cache: folder for compiled networks.
        base: what to start from; by default this process's environment.
    """
    env = dict(os.environ if base is None else base)
    libraries = [str(folder) for folder in wheel.library_folders]
    env["LD_LIBRARY_PATH"] = os.pathsep.join([*libraries, *filter(None, [env.get("LD_LIBRARY_PATH")])])
    # The stub embeds this Python in isolated mode: it ignores PYTHONPATH and PYTHONHOME, and takes the prefix, and so
    # the packages, of the first python3 on PATH.
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), *filter(None, [env.get("PATH")])])
    env["HEMASERVE_MODEL_REPOSITORY"] = str(settings.repository.absolute())
    env["HEMASERVE_OPENVINO_CACHE"] = str(cache / "openvino") if settings.compiled_cache else ""
    # Instances are processes; each runs with the threads its model's configuration gives it, and no library beside.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
        env[name] = "1"
    if settings.lean:
        env |= LEAN_ENVIRONMENT
    env["CUDA_VISIBLE_DEVICES"] = ""  # the embedded Triton is for CPUs
    return env
