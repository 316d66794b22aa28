"""Builds the images, and writes their sizes to a page.

    python scripts/images.py [--base IMAGE] [--tag TAG] [--page PAGE]

Takes docker, else buildah, whichever works here, and says which. Wheels come from the package index that pip is set up
for, checked against the locks; the build itself asks no index. The image on NVIDIA's is not among them: it needs its
registry.
"""

import argparse
import datetime
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
WHEELS: Final = ROOT / "build" / "wheels"
TARGETS: Final = ("gateway", "detector", "classifier", "triton-embedded")
LIMIT_MB: Final = 250
"""Most that the image of a service may take unpacked, but for Triton's, in millions of bytes."""


def builder() -> str:
    """The program that builds images here.

    Raises:
        SystemExit: there is none.
    """
    for name, needed in (("docker", ("docker",)), ("buildah", ("buildah", "podman"))):
        there = all(shutil.which(program) for program in needed)
        if there and subprocess.run((name, "info"), capture_output=True, check=False).returncode == 0:
            return name
    raise SystemExit(
        "error: neither a docker engine is here nor buildah and podman, which Debian and Ubuntu have"
    )


def download() -> None:
    """Get the wheels of all locks, each checked by its hash."""
    locks = [
        *sorted((ROOT / "deploy" / "requirements").glob("*.txt")),
        ROOT / "deploy" / "docker" / "setuptools.txt",
    ]
    for lock in locks:
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check")
        subprocess.run(
            [*pip, "--require-hashes", "--no-deps", "--dest", WHEELS, "--find-links", WHEELS, "-r", lock],
            check=True,
        )


def build(program: str, target: str, tag: str, base: str | None) -> None:
    """Build one image, dated by the commit."""
    epoch = _git("log", "-1", "--format=%ct")
    created = datetime.datetime.fromtimestamp(int(epoch), datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    told = {"VERSION": version, "REVISION": _git("rev-parse", "HEAD"), "CREATED": created}
    if base is not None:
        told["BASE"] = base
    how = ["docker", "build", "--build-arg", f"SOURCE_DATE_EPOCH={epoch}"]
    if program == "buildah":
        # chroot: also where no container can be started. HEALTHCHECK is in Docker's format alone.
        how = ["buildah", "bud", "--isolation=chroot", "--layers", "--format=docker", f"--timestamp={epoch}"]
    arguments = [word for name, value in told.items() for word in ("--build-arg", f"{name}={value}")]
    name = f"{'localhost/' if program == 'buildah' else ''}hemaserve/{target}:{tag}"
    file = ROOT / "deploy" / "docker" / "Dockerfile"
    subprocess.run([*how, *arguments, "--target", target, "--tag", name, "--file", file, ROOT], check=True)


def size(program: str, target: str, tag: str) -> int:
    """Bytes that an image takes unpacked."""
    if program == "docker":
        said = _run("docker", "image", "inspect", "--format={{.Size}}", f"hemaserve/{target}:{tag}")
    else:
        said = _run("podman", "image", "inspect", "--format={{.Size}}", f"localhost/hemaserve/{target}:{tag}")
    return int(said)


def page(program: str, sizes: dict[str, int]) -> str:
    """The page of sizes."""
    version = _run(program, "--version")
    today = datetime.datetime.now(datetime.UTC).date()
    rows = "\n".join(f"| `hemaserve/{target}` | {number / 1e6:.0f} |" for target, number in sizes.items())
    return f"""# The images

Written by `make images` on {today}, built by {version}.

| image | unpacked, MB |
|---|---|
{rows}

A service may take {LIMIT_MB} MB. `triton-embedded` has the wheel's Triton and all networks; it is what the tests start.
`triton` adds our networks to NVIDIA's image, and `make images` does not fetch that:
`docker build --file deploy/docker/Dockerfile --target triton --tag hemaserve/triton:latest .`
Why they are made as they are: [decision 26](decisions/0026-images.md).
"""


def _git(*words: str) -> str:
    return _run("git", "-C", str(ROOT), *words)


def _run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", help="image to build with, in place of Debian's, see deploy/docker/base.sh")
    parser.add_argument("--tag", default="latest")
    parser.add_argument("--page", type=Path)
    options = parser.parse_args(arguments)
    program = builder()
    print(f"building with {program}", flush=True)
    download()
    for target in TARGETS:
        build(program, target, options.tag, options.base)
    sizes = {target: size(program, target, options.tag) for target in TARGETS}
    for target, number in sizes.items():
        print(f"{target:16} {number / 1e6:6.0f} MB")
    if options.page is not None:
        options.page.write_text(page(program, sizes))
    too_large = [
        name for name, number in sizes.items() if name != "triton-embedded" and number > LIMIT_MB * 1e6
    ]
    if too_large:
        raise SystemExit(f"error: above {LIMIT_MB} MB: {', '.join(too_large)}")


if __name__ == "__main__":
    main()
