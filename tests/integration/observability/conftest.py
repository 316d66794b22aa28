"""Programs that these tests need."""

import os
import shutil

import pytest


def needed(program: str, package: str) -> None:
    """Without it, fail in CI and skip elsewhere."""
    if shutil.which(program) is None:
        reason = f"there is no {program}: apt-get install {package}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(autouse=True)
def programs() -> None:
    needed("promtool", "prometheus")
    needed("prometheus", "prometheus")
    needed("amtool", "prometheus-alertmanager")
