"""The stack's life: all processes side by side until ready, then until told to stop, then down in order."""

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from services.stack.child import Child, ChildFailed
from services.stack.plan import Process, plan
from services.stack.requirements import CannotRun
from services.stack.settings import StackSettings
from services.stack.tls import check_exposure

_TAIL_LINES: Final = 12
_STOP_ORDER: Final = (("gateway",), ("detector", "classifier"), ("triton",))
"""Callers before those whom they call, so that calls in progress can finish."""


class NotReady(Exception):
    """Not everything was ready in time, or a process keeps dying; the message says which, with the end of its log."""


class Stack:
    """All processes of the stack.

    Args:
        settings: where to listen and what to serve.
        say: told each line of progress.
        planned: the processes, where they are not to be those that the settings ask for.
    """

    def __init__(
        self, settings: StackSettings, say: Callable[[str], None], planned: Sequence[Process] | None = None
    ) -> None:
        self._settings = settings
        self._say = say
        self._planned = planned
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._complete = False
        self._children: list[Child] = []

    @property
    def _address(self) -> str:
        """Of all gateways, for clients."""
        parts = [part for child in self._children for part in child.planned.parts]
        return ",".join(part.address for part in parts if part.name == "gateway")

    async def run(self) -> None:
        """Run until SIGINT or SIGTERM; a second signal kills what is still there.

        Raises:
            CannotRun: there is no model repository, logs cannot be written, or the gateway would be open to other
                machines.
            NotReady: see there.
        """
        self._children = [
            Child(planned, log, on_ready=self._tell_ready, on_death=self._tell_death)
            for planned, log in self._with_logs()
        ]
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._on_signal)
        keepers = [asyncio.create_task(child.keep_running()) for child in self._children]
        stop = asyncio.create_task(self._stop.wait())
        try:
            await self._get_ready(keepers, stop)
            await _first_of([stop, *keepers])
        finally:
            await self._shut_down([*keepers, stop])

    async def _get_ready(self, keepers: Sequence["asyncio.Task[None]"], stop: "asyncio.Task[bool]") -> None:
        started = time.monotonic()
        all_ready = asyncio.create_task(self._wait_all_ready())
        try:
            in_time = await _first_of([all_ready, stop, *keepers], self._settings.ready_timeout_s)
        finally:
            all_ready.cancel()
        if not in_time:
            waiting = [child for child in self._children if not child.ready.is_set()]
            raise NotReady(
                f"not ready after {self._settings.ready_timeout_s:g} s: "
                + ", ".join(child.planned.name for child in waiting)
                + "".join(map(_log_end, waiting))
            )
        if not stop.done():
            self._complete = True
            self._write_ready_file()
            seconds = time.monotonic() - started
            if self._settings.tls is None:
                self._say(
                    "Without TLS: for programs of this machine. For others, see: hemaserve certificates --help"
                )
            self._say(f"HemaServe is ready at {self._address} after {seconds:.1f} s. Ctrl-C stops it.")

    async def _wait_all_ready(self) -> None:
        while not all(child.ready.is_set() for child in self._children):
            for child in self._children:
                await child.ready.wait()

    async def _shut_down(self, tasks: Sequence["asyncio.Task[Any]"]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for names in _STOP_ORDER:
            going = [
                child for child in self._children if any(part.name in names for part in child.planned.parts)
            ]
            await asyncio.gather(*(child.stop(self._hurry) for child in going))
        if self._settings.ready_file is not None:
            with contextlib.suppress(OSError):
                self._settings.ready_file.unlink(missing_ok=True)
        self._say("HemaServe has stopped.")

    def _with_logs(self) -> list[tuple[Process, Path | None]]:
        if not self._settings.model_repository.is_dir() and self._settings.triton is None:
            raise CannotRun(
                f"there is no model repository at {self._settings.model_repository}; "
                "name one with --model-repository DIR"
            )
        check_exposure(
            self._settings.address,
            self._settings.tls_folder,
            allow_insecure=self._settings.allow_insecure,
        )
        processes = plan(self._settings) if self._planned is None else list(self._planned)
        if self._settings.verbose:
            return [(planned, None) for planned in processes]
        # Two stacks have two folders: the gateway's address is theirs alone.
        folder = self._settings.log_dir / self._settings.address.replace(":", "_")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            logs = [folder / f"{planned.name}.log" for planned in processes]
            for log in logs:
                log.write_bytes(b"")
        except OSError:
            raise CannotRun(
                f"cannot write logs in {folder}; choose another folder with --log-dir DIR"
            ) from None
        self._say(f"logs in {folder}")
        return list(zip(processes, logs, strict=True))

    def _on_signal(self) -> None:
        if self._stop.is_set():
            self._hurry.set()
        else:
            self._say("Stopping ...")
        self._stop.set()

    def _tell_ready(self, child: Child, seconds: float) -> None:
        for part in child.planned.parts:
            self._say(f"{part.label:<12} ready   {part.address:<21} {seconds:5.1f} s")
        if self._complete:
            self._write_ready_file()

    def _tell_death(self, child: Child, status: int) -> None:
        self._say(f"{child.planned.name:<12} died    (status {status}); starting it again")

    def _write_ready_file(self) -> None:
        path = self._settings.ready_file
        if path is None:
            return
        replicas: dict[str, list[dict[str, Any]]] = {}
        for child in self._children:
            for part in child.planned.parts:
                replicas.setdefault(part.name, []).append(
                    {
                        "address": part.address,
                        "metrics_address": part.metrics_address,
                        "pid": child.pid,
                        "ready_s": child.ready_s,
                        "restarts": child.restarts,
                    }
                )
        document = {
            # For clients: of all gateways.
            "address": self._address,
            "pid": os.getpid(),
            "profile": self._settings.profile.value,
            # The first of each, and all of them.
            "services": {name: each[0] for name, each in replicas.items()},
            "replicas": replicas,
        }
        # A reader sees the whole file or none.
        partial = path.with_name(path.name + ".partial")
        partial.write_text(json.dumps(document, indent=2), encoding="utf-8")
        partial.replace(path)


async def _first_of(tasks: Iterable["asyncio.Future[Any]"], timeout_s: float | None = None) -> bool:
    """Wait for one of the tasks; False when the time was over first. A process that keeps dying is `NotReady`."""
    done, _ = await asyncio.wait(tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    try:
        for task in done:
            task.result()
    except ChildFailed as failure:
        raise NotReady(f"{failure}{_log_end(failure.child)}") from None
    return bool(done)


def _log_end(child: Child) -> str:
    if child.log is None:
        return ""
    try:
        lines = child.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:]
    except OSError:
        return ""
    return "".join(f"\n  {child.planned.name} | {line}" for line in lines)
