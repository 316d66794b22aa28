"""What the images install: exactly pinned, by hash, and the same versions that were tested."""

import re
import tomllib
from collections import deque
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKS = {
    "gateway": ["runtime", "gateway"],
    "networks": ["runtime", "networks"],
    "triton": ["runtime", "networks", "embedded"],
}
"""Each image's lock, and the extras that it installs."""

Pins = dict[str, tuple[str, list[str]]]


def pins(text: str) -> Pins:
    """Version and hashes of each package."""
    found: Pins = {}
    for line in text.replace("\\\n", " ").splitlines():
        pin, *hashes = line.split(" --hash=")
        if pin.strip() and not pin.startswith("#"):
            name, version = pin.strip().split("==")
            found[canonicalize_name(name)] = (version, [each.strip() for each in hashes])
    return found


def locked(role: str) -> Pins:
    return pins((ROOT / "deploy" / "requirements" / f"{role}.txt").read_text())


def wanted(role: str) -> list[Requirement]:
    extras = PROJECT["optional-dependencies"]
    asked = [*PROJECT["dependencies"], *(one for extra in LOCKS[role] for one in extras[extra])]
    return [
        requirement
        for requirement in map(Requirement, asked)
        if requirement.marker is None or requirement.marker.evaluate()
    ]


def test_every_lock_belongs_to_an_image():
    assert {path.stem for path in (ROOT / "deploy" / "requirements").glob("*.txt")} == set(LOCKS)


@pytest.mark.parametrize("role", LOCKS)
def test_every_package_has_one_version_and_its_hashes(role: str):
    for name, (version, hashes) in locked(role).items():
        assert re.fullmatch(r"[\w.+!]+", version), name
        assert hashes, name
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", each) for each in hashes), name


@pytest.mark.parametrize("role", LOCKS)
def test_a_lock_has_what_the_project_asks_for(role: str):
    found = locked(role)
    unmet = [
        str(requirement)
        for requirement in wanted(role)
        if canonicalize_name(requirement.name) not in found
        or not requirement.specifier.contains(found[canonicalize_name(requirement.name)][0])
    ]
    assert unmet == [], "run `make lock`"


@pytest.mark.parametrize("role", LOCKS)
def test_a_lock_has_what_its_packages_ask_for_and_nothing_else(role: str):
    """As the packages that are installed here say, which are of the same versions."""
    found, needed = locked(role), {}
    waiting = deque((requirement, requirement.extras) for requirement in wanted(role))
    while waiting:
        requirement, extras = waiting.popleft()
        name = canonicalize_name(requirement.name)
        if needed.get(name, frozenset()) >= {"", *extras}:
            continue
        needed[name] = needed.get(name, frozenset()) | {"", *extras}
        for one in map(Requirement, metadata.requires(name) or ()):
            if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                waiting.append((one, one.extras))
    assert found.keys() == needed.keys(), "run `make lock`"


@pytest.mark.parametrize("role", LOCKS)
def test_the_images_get_the_versions_that_were_tested(role: str):
    tested = {
        canonicalize_name(name): version
        for name, version in (line.split("==") for line in (ROOT / "constraints.txt").read_text().split())
    }
    assert {name: version for name, (version, _) in locked(role).items()} == {
        name: tested.get(name) for name in locked(role)
    }, "run `make lock`"


@pytest.mark.parametrize("role", LOCKS)
def test_a_lock_names_no_place_to_get_packages_from(role: str):
    text = (ROOT / "deploy" / "requirements" / f"{role}.txt").read_text()
    assert not re.search(r"://|--(index|extra-index|find-links|trusted-host)", text)
