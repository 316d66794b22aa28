"""Runs the wheel's Triton as part of this process: starts it, keeps it running, and takes it along when it ends."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import structlog

from services.triton import guard, stuck
from services.triton.backend_directory import backend_directory, default_cache
from services.triton.command import HOST, Ports, command_line, environment, pick_ports
from services.triton.logs import forward
from services.triton.settings import TritonSettings
from services.triton.wheel import find_wheel

_log = structlog.get_logger(__name__)

POLL_S = 0.05
STABLE_S = 60.0
"""A server that ran this long after a start is no longer counted as failing."""
PORT_ATTEMPTS = 3


_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy has no business on loopback


class TritonStartError(RuntimeError):
    """Triton was started and did not become ready."""


class EmbeddedTriton:
    """The embedded Triton, as a context manager, plain or async; ready inside the block.

    After it was ready once it is restarted whenever it dies or takes no more requests, on the same ports, for as long
    as the block lasts. Each object serves for one block.

    Args:
        settings: what to serve and where to listen.

    Raises:
        TritonUnavailable: by the constructor, at once: the wheel's Triton cannot run on this machine.
    """

    def __init__(self, settings: TritonSettings | None = None) -> None:
        self.settings = settings or TritonSettings()
        self._wheel = find_wheel(self.settings.repository, self.settings.models)
        self._id = f"hemaserve-{uuid.uuid4().hex[:12]}"
        self._ports = pick_ports(self.settings)
        self._closed = False
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._supervisor: threading.Thread | None = None
        self._watcher: threading.Thread | None = None
        self._ended = threading.Event()
        self._restart = False
        self._errors: deque[str] = deque(maxlen=5)
        self.restarts = 0

    @property
    def ports(self) -> Ports:
        """The ports in use."""
        return self._ports

    @property
    def grpc_address(self) -> str:
        """``host:port`` for gRPC clients."""
        return f"{HOST}:{self._ports.grpc}"

    @property
    def http_address(self) -> str:
        """``host:port`` of the HTTP API."""
        return f"{HOST}:{self._ports.http}"

    @property
    def metrics_url(self) -> str:
        """Where Triton's own Prometheus metrics are."""
        return f"http://{HOST}:{self._ports.metrics}/metrics"

    @property
    def pid(self) -> int | None:
        """Process id of the guard, whose only child is ``tritonserver``; none while nothing runs."""
        process = self._process
        return None if process is None or process.poll() is not None else process.pid

    def start(self) -> None:
        """Starts Triton and waits until it is ready: every model was tried, and those that are sound serve.

        Raises:
            TritonStartError: it ended before it was ready, or took longer than ``ready_timeout_s``.
            OSError: the cache folder cannot be written.
        """
        if not self.settings.repository.is_dir():
            raise TritonStartError(f"no model repository at {self.settings.repository.absolute()}")
        started = time.monotonic()
        for attempt in range(1, PORT_ATTEMPTS + 1):
            self._launch()
            try:
                self.wait_ready(self.settings.ready_timeout_s)
            except TritonStartError:
                self._halt()
                picked = 0 in (self.settings.grpc_port, self.settings.http_port, self.settings.metrics_port)
                taken = any("already in use" in error for error in self._errors)
                if not (picked and taken) or attempt == PORT_ATTEMPTS:
                    raise
                self._ports = pick_ports(self.settings)
                continue
            break
        self._restart = True
        self._watcher = threading.Thread(
            target=stuck.watch,
            args=(self.grpc_address, self.settings.stuck_after_s, self._stopping, self._kill_stuck),
            name="triton-watcher",
            daemon=True,
        )
        self._watcher.start()
        _log.info("triton_ready", address=self.grpc_address, seconds=round(time.monotonic() - started, 2))

    def stop(self) -> None:
        """Stops Triton: inferences in flight may finish for ``stop_timeout_s``, then it is killed. Idempotent."""
        with self._lock:
            self._closed = True  # a start that is still on its way in another thread ends here
        self._halt()

    def _halt(self) -> None:
        with self._lock:
            self._stopping.set()
            process = self._process
            if process is not None and process.stdin is not None:
                process.stdin.close()  # the guard takes the end of its input for the order to stop
        if process is not None:
            try:
                # The guard itself kills after the timeout; the margin is for it to clean up.
                process.wait(self.settings.stop_timeout_s + 10.0)
            except subprocess.TimeoutExpired:
                process.kill()
        if self._supervisor is not None and self._supervisor is not threading.current_thread():
            self._supervisor.join()
        if self._watcher is not None:
            self._watcher.join()

    def is_ready(self) -> bool:
        """Whether this very server answers that it is ready, on all its ports. Blocks for some seconds at most."""
        base = f"http://{self.http_address}/v2"
        try:
            with _direct.open(f"{base}/health/ready", timeout=1.0):
                pass
            # Its metrics are the last that it opens.
            with socket.create_connection((HOST, self._ports.metrics), timeout=1.0):
                pass
            with _direct.open(base, timeout=1.0) as answer:
                # Another server may have taken a port that was free when it was picked.
                return bool(json.load(answer).get("name") == self._id)
        except (OSError, ValueError):
            return False

    def wait_ready(self, timeout_s: float) -> None:
        """Waits until :meth:`is_ready`.

        Raises:
            TritonStartError: it ended for good, or ``timeout_s`` seconds passed.
        """
        deadline = time.monotonic() + timeout_s
        while not self.is_ready():
            if self._ended.wait(POLL_S):
                raise TritonStartError("Triton ended before it was ready: " + self._last_errors())
            if time.monotonic() > deadline:
                raise TritonStartError(f"Triton was not ready after {timeout_s:g} s: " + self._last_errors())

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        try:
            await asyncio.to_thread(self.start)
        except BaseException:  # also a cancelled start
            await asyncio.shield(asyncio.to_thread(self.stop))
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)

    def _launch(self) -> None:
        cache = self.settings.cache or default_cache()
        backends = backend_directory(self._wheel, cache)
        command = [
            *(sys.executable, "-I", "-S", str(Path(guard.__file__))),
            *(self._id, str(self.settings.stop_timeout_s)),
            *command_line(self._wheel, self.settings, self._ports, backends=backends, server_id=self._id),
        ]
        env = environment(self._wheel, self.settings, cache=cache)
        with self._lock:
            if self._closed:
                raise TritonStartError("it was stopped before it was started")
            self._stopping.clear()
            self._ended.clear()
            self._errors.clear()
            self._restart = False
            self._supervisor = threading.Thread(
                target=self._supervise, args=(command, env), name="triton-supervisor", daemon=True
            )
            self._supervisor.start()

    def _supervise(self, command: list[str], env: dict[str, str]) -> None:
        delay = self.settings.restart_delay_s
        try:
            while True:
                started = time.monotonic()
                status = self._run(command, env)
                if self._stopping.is_set() or not self._restart:
                    return
                if time.monotonic() - started > STABLE_S:
                    delay = self.settings.restart_delay_s
                _log.error("triton_died", status=status, restart_in_s=delay)
                if self._stopping.wait(delay):
                    return
                delay = min(2 * delay, self.settings.restart_delay_max_s)
                self.restarts += 1
        finally:
            self._ended.set()

    def _run(self, command: list[str], env: dict[str, str]) -> int | None:
        """Starts the guard and Triton once and logs what they say until they end."""
        with self._lock:
            if self._stopping.is_set():
                return None
            process = subprocess.Popen(
                command,
                env=env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,  # a terminal's Ctrl-C is for us alone; we then stop Triton in order
            )
            self._process = process
        if process.stdout is not None:
            with process.stdout:
                forward(process.stdout, _log, self._errors, lambda message: _notice(process, message))
        status = process.wait()
        if process.stdin is not None:
            process.stdin.close()
        return status

    def _kill_stuck(self) -> None:
        _log.error("triton_stuck", seconds=self.settings.stuck_after_s, address=self.grpc_address)
        with self._lock:
            if self._process is not None:
                self._process.send_signal(signal.SIGUSR2)

    def _last_errors(self) -> str:
        return "; ".join(self._errors) or "it logged no error"


def _notice(guard_process: subprocess.Popen[str], message: str) -> None:
    """Tells the guard of what only Triton's log tells."""
    if message.startswith("Started GRPCInferenceService"):
        # All models were tried: from now on a stub that ends is one too few.
        guard_process.send_signal(signal.SIGUSR1)
    elif message.startswith("All models are stopped, unloading models"):
        # Nothing is in flight any more. Unloading takes a second for each instance, and nobody waits for its fruits.
        guard_process.send_signal(signal.SIGTERM)


def embedded_triton(repository: Path, **settings: Any) -> EmbeddedTriton:
    """An embedded Triton on free ports, for tests and for whole stacks on one machine.

    Args:
        repository: the model repository.
        settings: other fields of :class:`TritonSettings`.
    """
    free = {"grpc_port": 0, "http_port": 0, "metrics_port": 0}
    return EmbeddedTriton(TritonSettings(repository=repository, **(free | settings)))
