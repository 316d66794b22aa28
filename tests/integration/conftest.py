"""What all integration tests share: the mark, and the real Triton."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.triton.embedded import EmbeddedTriton, embedded_triton
from services.triton.wheel import TritonUnavailable, find_wheel

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1] / "model_repository"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="session")
def start_triton() -> Callable[..., EmbeddedTriton]:
    """`start_triton(repository, **settings)`: a context manager, plain or async; skips where Triton cannot run."""
    try:
        find_wheel(Path())
    except TritonUnavailable as error:
        pytest.skip(error.reason)
    return embedded_triton


@pytest.fixture(scope="session")
def triton(start_triton: Callable[..., EmbeddedTriton]) -> Iterator[str]:
    """gRPC address of one embedded Triton that serves model_repository/, for the whole session."""
    with start_triton(REPOSITORY) as server:
        yield server.grpc_address


@pytest.fixture(scope="session")
def metric() -> Callable[..., float]:
    """`metric(triton, name, **labels)`: the sum of a metric of Triton's over the series with these labels."""

    def read(triton: EmbeddedTriton, name: str, **labels: str) -> float:
        with urllib.request.urlopen(triton.metrics_url, timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        return sum(
            float(line.rsplit(" ", 1)[1])
            for line in lines
            if line.startswith(name + "{") and all(label in line for label in wanted)
        )

    return read
