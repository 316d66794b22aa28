"""Finding the wheel's Triton and assembling its backend directory."""

from __future__ import annotations

import platform
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

import pytest

from services.triton import wheel as wheel_module
from services.triton.backend_directory import backend_directory, default_cache
from services.triton.command import Ports, command_line, environment, pick_ports
from services.triton.embedded import EmbeddedTriton
from services.triton.settings import TritonSettings
from services.triton.wheel import TritonUnavailable, TritonWheel, container_command, find_wheel


@pytest.fixture
def wheel(tmp_path: Path) -> TritonWheel:
    """A wheel in looks only."""
    root = tmp_path / "site-packages"
    files = {"bin": root / "tritonserver", "stub": root / "stubs" / "triton_python_backend_stub"}
    backend = root / "python"
    backend.mkdir(parents=True)
    (backend / "libtriton_python.so").write_text("library")
    files["stub"].parent.mkdir()
    for file in files.values():
        file.write_text(file.name)
        file.chmod(0o755)
    return TritonWheel("0.7.0", files["bin"], backend, files["stub"], (root / "libs", Path("/python/lib")))


@pytest.fixture
def own_backends(tmp_path: Path) -> Path:
    folder = tmp_path / "backends"
    (folder / "onnxruntime" / "__pycache__").mkdir(parents=True)
    (folder / "onnxruntime" / "model.py").write_text("one")
    (folder / "onnxruntime" / "__pycache__" / "model.pyc").write_text("compiled")
    (folder / "notes").mkdir()
    return folder


def test_the_backend_directory_has_the_wheels_backend_with_its_stub_and_ours(
    wheel, own_backends, tmp_path
) -> None:
    folder = backend_directory(wheel, tmp_path / "cache", own_backends)
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {
        "python/libtriton_python.so",
        "python/triton_python_backend_stub",
        "onnxruntime/model.py",
    }
    assert (folder / "python" / "triton_python_backend_stub").stat().st_mode & 0o111


def test_the_backend_directory_is_assembled_once_for_each_state_of_our_backends(
    wheel, own_backends, tmp_path
) -> None:
    cache = tmp_path / "cache"
    first = backend_directory(wheel, cache, own_backends)
    born = first.stat().st_ino
    assert backend_directory(wheel, cache, own_backends) == first
    assert first.stat().st_ino == born
    (own_backends / "onnxruntime" / "model.py").write_text("two")
    second = backend_directory(wheel, cache, own_backends)
    assert second != first
    assert (first / "onnxruntime" / "model.py").read_text() == "one"
    assert (second / "onnxruntime" / "model.py").read_text() == "two"


def test_many_may_assemble_the_backend_directory_at_once(wheel, own_backends, tmp_path) -> None:
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(backend_directory, wheel, tmp_path / "cache", own_backends) for _ in range(32)]
        folders = {job.result() for job in jobs}
    assert len(folders) == 1
    assert list((tmp_path / "cache" / "triton-backends").iterdir()) == list(folders)


def test_the_cache_is_the_users(monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert default_cache() == Path("/elsewhere/hemaserve")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache() == Path.home() / ".cache" / "hemaserve"


def no_package(_name: str) -> None:
    raise metadata.PackageNotFoundError


@pytest.mark.parametrize(
    ("module", "attribute", "value", "reason"),
    [
        (sys, "platform", "darwin", "it is a Linux program"),
        (platform, "machine", lambda: "aarch64", "it is an x86-64 program and this is aarch64"),
        (metadata, "distribution", no_package, "the package nvidia-pytriton is not installed"),
        (wheel_module, "_glibc_present", lambda: (2, 17), "it needs glibc 2.35 and this is 2.17"),
        (wheel_module, "_glibc_present", lambda: None, "it needs glibc, and this C library is another"),
        (wheel_module, "_python_library_folder", list, "this Python has no shared library"),
    ],
)
def test_where_it_cannot_run_the_error_says_why_and_what_to_run_instead(
    monkeypatch, module, attribute, value, reason
) -> None:
    monkeypatch.setattr(module, attribute, value)
    settings = TritonSettings(repository=Path("/models of ours"), models=("vit",))
    with pytest.raises(TritonUnavailable, match=reason) as caught:
        EmbeddedTriton(settings)
    assert caught.value.container_command in str(caught.value)


def test_the_container_serves_the_same_repository_on_loopback() -> None:
    command = container_command(Path("/models of ours"), models=("vit",))
    assert command == (
        "docker run --rm --shm-size=1g -p 127.0.0.1:8000:8000 -p 127.0.0.1:8001:8001 -p 127.0.0.1:8002:8002 "
        "-v '/models of ours:/models:ro' nvcr.io/nvidia/tritonserver:24.10-py3 tritonserver "
        "--model-repository=/models --model-config-name=cpu --exit-on-error=false --strict-readiness=false "
        "--model-control-mode=explicit --load-model=vit"
    )


def test_triton_listens_on_loopback_only(wheel) -> None:
    settings = TritonSettings(models=("vit", "vote"))
    words = command_line(wheel, settings, Ports(1, 2, 3), backends=Path("/backends"), server_id="me")
    addresses = [word for word in words if "-address=" in word]
    assert sorted(addresses) == [f"--{kind}-address=127.0.0.1" for kind in ("grpc", "http", "metrics")]
    assert {"--grpc-port=1", "--http-port=2", "--metrics-port=3", "--model-config-name=embedded"} <= set(
        words
    )
    assert {"--model-control-mode=explicit", "--load-model=vit", "--load-model=vote"} <= set(words)


def test_triton_and_its_stubs_find_this_python_and_keep_to_one_thread(wheel) -> None:
    env = environment(
        wheel,
        TritonSettings(compiled_cache=True),
        cache=Path("/cache"),
        base={"PATH": "/bin", "LD_LIBRARY_PATH": "/old"},
    )
    assert env["PATH"] == f"{Path(sys.executable).parent}:/bin"
    assert env["LD_LIBRARY_PATH"].split(":") == [*map(str, wheel.library_folders), "/old"]
    assert env["OMP_NUM_THREADS"] == "1"
    assert env["HEMASERVE_OPENVINO_CACHE"] == "/cache/openvino"
    uncached = environment(wheel, TritonSettings(), cache=Path("/cache"), base={})
    assert not uncached["HEMASERVE_OPENVINO_CACHE"]


def test_free_ports_differ_and_given_ones_are_kept() -> None:
    ports = pick_ports(TritonSettings(grpc_port=8001, http_port=0, metrics_port=0))
    assert ports.grpc == 8001
    assert len({ports.grpc, ports.http, ports.metrics}) == 3


def test_settings_take_models_from_the_environment(monkeypatch) -> None:
    monkeypatch.setenv("HEMASERVE_TRITON_MODELS", "vit, vote")
    assert TritonSettings().models == ("vit", "vote")


def test_the_wheel_is_found_where_it_is_installed() -> None:
    try:
        found = find_wheel(Path())
    except TritonUnavailable as error:
        pytest.skip(error.reason)
    assert found.binary.name == "tritonserver"
    assert found.stub.exists()
