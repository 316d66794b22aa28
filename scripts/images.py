"""Builds the images, and writes their sizes to a page.

    python scripts/images.py [--base IMAGE] [--tag TAG] [--again] [--page PAGE]

Takes docker, else buildah, whichever works here, and says which. Wheels come from the package index that pip is set up
for, checked against the locks; the build itself asks no index. The image on NVIDIA's is not among them: it needs its
registry. With `--again` each is built once more, from a fresh checkout and without a cache, and has to be the same.
"""

import argparse
import datetime
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
WHEELS: Final = ROOT / "build" / "wheels"
TARGETS: Final = ("gateway", "detector", "classifier", "triton-embedded")
OF_A_BUILD: Final = frozenset({"container", "container_config", "parent"})
"""Parts of an image's configuration in Docker's format that say how it came about, not what it is."""

FILES_EPOCH: Final = 946_684_800
"""Time of all files, 2000-01-01: one for all commits, so that a layer that does not change stays the same."""

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


def build(
    program: str, target: str, tag: str, base: str | None, *, source: Path = ROOT, cache: bool = True
) -> None:
    """Build one image, dated by the commit."""
    labels = {
        "version": tomllib.loads((source / "pyproject.toml").read_text())["project"]["version"],
        "revision": _git("rev-parse", "HEAD"),
        "created": _committed().strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    how = ["docker", "build", "--build-arg", f"SOURCE_DATE_EPOCH={_committed().timestamp():.0f}"]
    if program == "buildah":
        # chroot: also where no container can be started. HEALTHCHECK is in Docker's format alone.
        how = ["buildah", "bud", "--isolation=chroot", "--layers", "--format=docker"]
        how += [f"--timestamp={FILES_EPOCH}", "--identity-label=false"]
    if not cache:
        how.append("--no-cache")
    if base is not None:
        how.append(f"--build-arg=BASE={base}")
    how += [f"--label=org.opencontainers.image.{name}={value}" for name, value in labels.items()]
    name = _name(program, target, tag)
    file = source / "deploy" / "docker" / "Dockerfile"
    subprocess.run([*how, "--target", target, "--tag", name, "--file", file, source], check=True)
    if program == "buildah":
        settle(name, labels["created"])


def settle(name: str, created: str) -> None:
    """Give an image of buildah a configuration without what is of its build alone, see `settled`."""
    with tempfile.TemporaryDirectory() as folder:
        _run("buildah", "push", "--quiet", "--disable-compression", name, f"dir:{folder}")
        at = Path(folder) / "manifest.json"
        manifest = json.loads(at.read_bytes())
        before = Path(folder) / manifest["config"]["digest"].removeprefix("sha256:")
        config = json.dumps(settled(json.loads(before.read_bytes()), created), sort_keys=True).encode()
        digest = hashlib.sha256(config).hexdigest()
        (Path(folder) / digest).write_bytes(config)
        manifest["config"] |= {"digest": f"sha256:{digest}", "size": len(config)}
        at.write_text(json.dumps(manifest))
        _run("buildah", "tag", _run("buildah", "pull", "--quiet", f"dir:{folder}"), name)


def settled(config: dict[str, Any], created: str) -> dict[str, Any]:
    """An image's configuration without names of containers and of images that it was made of on the way."""
    kept = {name: value for name, value in config.items() if name not in OF_A_BUILD}
    return kept | {
        "created": created,
        "config": {name: value for name, value in kept["config"].items() if name != "Hostname"},
        "history": [
            {name: value for name, value in step.items() if name != "comment"} for step in kept["history"]
        ],
    }


def again(program: str, target: str, tag: str, base: str | None) -> None:
    """Build an image once more, from a fresh checkout with other modes, and without a cache.

    Raises:
        SystemExit: it is not the same.
    """
    with tempfile.TemporaryDirectory() as name:
        fresh = Path(name) / "fresh"
        subprocess.run(["git", "clone", "--quiet", "--shared", ROOT, fresh], check=True, umask=0o077)
        shutil.copytree(WHEELS, fresh / "build" / "wheels")
        build(program, target, f"{tag}-again", base, source=fresh, cache=False)
    first, second = (_digest(program, target, each) for each in (tag, f"{tag}-again"))
    print(f"{target:16} {first}", flush=True)
    if first != second:
        raise SystemExit(
            f"error: {target}: built again, the same commit gives {second}; is all committed, and are no layers kept "
            f"of another base? {program} has a command to prune them"
        )


def size(program: str, target: str, tag: str) -> int:
    """Bytes that an image takes unpacked."""
    return int(_inspect(program, target, tag, "Size"))


def page(program: str, sizes: dict[str, int], *, same: bool) -> str:
    """The page of sizes; `same`: whether each was built again, and was the same."""
    version = _run(program, "--version")
    today = datetime.datetime.now(datetime.UTC).date()
    rows = "\n".join(f"| `hemaserve/{target}` | {number / 1e6:.0f} |" for target, number in sizes.items())
    repeated = (
        "Each was built twice, from two checkouts and the second time without a cache: the digests are the same."
        if same
        else "Whether each is the same when it is built again was not tried (`IMAGES_ARGS=--again`)."
    )
    return f"""# The images

Written by `make images` on {today}, built by {version}.

| image | unpacked, MB |
|---|---|
{rows}

A service may take {LIMIT_MB} MB. `triton-embedded` has the wheel's Triton and all networks; it is what the tests start.
{repeated}

`triton` adds our networks to NVIDIA's image, and `make images` does not fetch that:
`docker build --file deploy/docker/Dockerfile --target triton --tag hemaserve/triton:latest .`
Why they are made as they are: [decision 26](decisions/0026-images.md).
"""


def _name(program: str, target: str, tag: str) -> str:
    return f"{'localhost/' if program == 'buildah' else ''}hemaserve/{target}:{tag}"


def _digest(program: str, target: str, tag: str) -> str:
    """Of the configuration, which names the digests of all layers."""
    return _inspect(program, target, tag, "Id").removeprefix("sha256:")


def _inspect(program: str, target: str, tag: str, what: str) -> str:
    asked = "docker" if program == "docker" else "podman"
    return _run(asked, "image", "inspect", f"--format={{{{.{what}}}}}", _name(program, target, tag))


def _committed() -> datetime.datetime:
    return datetime.datetime.fromtimestamp(int(_git("log", "-1", "--format=%ct")), datetime.UTC)


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
    parser.add_argument(
        "--again", action="store_true", help="whether each is the same when it is built again"
    )
    parser.add_argument("--page", type=Path)
    options = parser.parse_args(arguments)
    program = builder()
    print(f"building with {program}", flush=True)
    download()
    for target in TARGETS:
        build(program, target, options.tag, options.base)
        if options.again:
            again(program, target, options.tag, options.base)
    sizes = {target: size(program, target, options.tag) for target in TARGETS}
    for target, number in sizes.items():
        print(f"{target:16} {number / 1e6:6.0f} MB")
    if options.page is not None:
        options.page.write_text(page(program, sizes, same=options.again))
    too_large = [
        name for name, number in sizes.items() if name != "triton-embedded" and number > LIMIT_MB * 1e6
    ]
    if too_large:
        raise SystemExit(f"error: above {LIMIT_MB} MB: {', '.join(too_large)}")


if __name__ == "__main__":
    main()
