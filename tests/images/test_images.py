"""The real images, started by podman from the compose file: as one stack they answer, are confined, and end in order.

Needs root, podman and the images of `make images`; HEMASERVE_BASE where these were built with another base; says what
it used. A runtime of containers is tried by starting one.
What this does not show: Docker's own engine, NVIDIA's image, Kubernetes' probes.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from hemaserve import synthetic
from hemaserve.cells import Kind

from ..e2e.conftest import COMMAND, _free_address, wait_until
from ..unit.docs.conftest import script

__all__ = ["script"]

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "deploy" / "docker" / "compose.yaml"
TAG = os.environ.get("HEMASERVE_TAG", "latest")
BASE = os.environ.get("HEMASERVE_BASE")
"""What images are built with, see deploy/docker/base.sh; Debian's own by default."""
SERVICES = ("triton", "detector", "classifier", "gateway")

pytestmark = [
    pytest.mark.long,  # builds on images of some hundred MB, and starts a whole stack of containers
    pytest.mark.skipif(shutil.which("podman") is None, reason="podman is not installed"),
]


def image(name: str) -> str:
    return f"localhost/hemaserve/{'triton-embedded' if name == 'triton' else name}:{TAG}"


def podman(*words: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["podman", *words], capture_output=True, text=True, check=check, timeout=120)


def limits() -> dict[str, int]:
    """No more than this process may have: who is not all-powerful cannot give more."""
    return {"nofile": resource.getrlimit(resource.RLIMIT_NOFILE)[1], "nproc": 4096}


@pytest.fixture(scope="module")
def runtime() -> str:
    """The first runtime that starts a container here."""
    if podman("image", "exists", image("gateway"), check=False).returncode:
        pytest.fail(f"{image('gateway')} is not there: make images")
    words = [f"--ulimit={name}={most}:{most}" for name, most in limits().items()]
    for name in ("crun", "runc"):
        probe = (
            "--runtime",
            name,
            "run",
            "--rm",
            "--network=none",
            *words,
            "--entrypoint=python3",
            image("gateway"),
            "-V",
        )
        if shutil.which(name) and podman(*probe, check=False).returncode == 0:
            return name
    pytest.fail("neither crun nor runc starts a container here")


@pytest.fixture(scope="module")
def stack(runtime: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the gateway."""
    folder = tmp_path_factory.mktemp("compose")
    more = folder / "limits.yaml"
    more.write_text(yaml.safe_dump({"services": {name: {"ulimits": limits()} for name in SERVICES}}))
    address = _free_address()
    environment = os.environ | {
        "HEMASERVE_IMAGES": "localhost/hemaserve",
        "HEMASERVE_TAG": TAG,
        "HEMASERVE_PORT": address.rpartition(":")[2],
    }
    compose = [
        *(sys.executable, "-m", "podman_compose", f"--podman-args=--runtime={runtime}", "--in-pod=false"),
        *("--project-name", "hemaserve-test", "--file", str(COMPOSE), "--file", str(more)),
    ]
    try:
        up = subprocess.run(
            [*compose, "up", "--detach"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert up.returncode == 0, up.stdout + up.stderr
        health = [*COMMAND, "health", "--address", address]
        wait_until(
            lambda: subprocess.run(health, capture_output=True, check=False).returncode == 0,
            "the stack answers",
        )
        yield address
    finally:
        subprocess.run([*compose, "down"], env=environment, capture_output=True, timeout=120, check=False)


def container(name: str) -> str:
    return f"hemaserve-test_{name}_1"


def ran(runtime: str, name: str, code: str) -> str:
    """What Python says in an image."""
    words = [f"--ulimit={limit}={most}:{most}" for limit, most in limits().items()]
    return podman(
        *("--runtime", runtime, "run", "--rm", "--network=none", *words),
        *("--entrypoint=python3", image(name), "-c", code),
    ).stdout


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_has_only_what_it_needs(name: str, runtime: str):
    code = (
        "import json, os, shutil, importlib.util as u; print(json.dumps(["
        "[w for w in ('sh', 'bash', 'pip', 'gcc', 'cc', 'apt-get', 'dpkg') if shutil.which(w)], "
        "[m for m in ('torch', 'pip', 'setuptools', 'scipy') if u.find_spec(m)]]))"
    )
    # Triton's Python backend starts its stubs by bash.
    assert json.loads(ran(runtime, name, code)) == [["bash"] if name == "triton" else [], []]


@pytest.mark.parametrize("name", SERVICES)
def test_what_is_compiled_is_used_whatever_the_time(name: str, runtime: str):
    """PEP 552: flags 1 are a hash that is not checked. A time would not be that of the file, and of each build."""
    code = (
        "import pathlib; found = [p for r in ('/opt', '/usr/lib') for p in pathlib.Path(r).rglob('*.pyc')]; "
        "print(len(found) > 100, [str(p) for p in found if p.read_bytes()[4:8] != bytes([1, 0, 0, 0])])"
    )
    assert ran(runtime, name, code) == "True []\n"


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_says_of_which_commit_it_is(name: str):
    label = '{{index .Labels "org.opencontainers.image.revision"}}'
    revision = podman("image", "inspect", f"--format={label}", image(name)).stdout.strip()
    assert (
        subprocess.run(
            ["git", "-C", ROOT, "cat-file", "-e", f"{revision}^{{commit}}"], check=False
        ).returncode
        == 0
    )


def test_the_same_commit_gives_the_same_image_from_another_checkout_and_without_a_cache(script):
    images = script("images")
    images.download()
    images.build(images.builder(), "gateway", f"{TAG}-once", BASE)
    images.again(images.builder(), "gateway", f"{TAG}-once", BASE)


def test_the_images_answer_as_one_stack(stack: str, tmp_path: Path):
    field = tmp_path / "field.png"
    drawn = synthetic.generate_field(7)
    field.write_bytes(synthetic.encode_png(drawn.image))
    done = subprocess.run(
        [*COMMAND, "analyze", "--address", stack, "--json", "-", str(field)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    differential = json.loads(done.stdout)["differential"]
    truth = Counter(cell.cell_type.value for cell in drawn.cells if cell.kind is Kind.WBC)
    found = Counter({share["type"]: share["count"] for share in differential["leukocytes"]})
    assert differential["identified_leukocytes"] + differential["unidentified"] == truth.total()
    assert found.total() >= 1
    assert found <= truth


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_is_confined_and_its_health_command_agrees(stack: str, name: str):
    code = (
        "import os\n"
        "status = dict(l.split(':', 1) for l in open('/proc/self/status'))\n"
        "try:\n  open('/x', 'w')\nexcept OSError as error:\n  wrote = error.strerror\n"
        "print(os.getuid(), status['CapEff'].strip(), status['NoNewPrivs'].strip(), wrote)"
    )

    said = podman("exec", container(name), "python3", "-c", code).stdout
    assert said == "10001 0000000000000000 1 Read-only file system\n"
    assert (
        podman("exec", container(name), "python3", "-m", "services.probe", name).stdout
        == f"{name}: SERVING\n"
    )


def test_a_container_that_is_told_to_stop_ends_in_order(stack: str):
    """Last, because nothing is left of the stack."""
    for name in reversed(SERVICES):
        # SIGTERM; who is killed after that time has status 137.
        podman("stop", "--time=60", container(name))
        status = podman("inspect", "--format={{.State.ExitCode}}", container(name)).stdout.strip()
        assert status == "0", podman("logs", container(name)).stderr
