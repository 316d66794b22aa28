"""What tests of all kinds share: real images where they are, generated ones elsewhere."""

import os
import re
import shutil
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).parents[1]

# Machines are shared and noisy, so no example has a deadline. CI repeats the same examples; new ones are looked for
# where somebody is there to look at what they find.
settings.register_profile("developer", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "developer")


@pytest.fixture(scope="session")
def data_folder() -> Path | None:
    """The folder of real image sets (HEMASERVE_DATA, else ../shared/data); None on a clone without them."""
    folder = Path(os.environ.get("HEMASERVE_DATA", ROOT.parent / "shared" / "data"))
    return folder if (folder / "smear_fields").is_dir() else None


def need(programs: dict[str, str]) -> None:
    """Programs of the system, by the Debian package of each. Without them fail in CI, and skip elsewhere."""
    for program, package in programs.items():
        if shutil.which(program) is None:
            reason = f"there is no {program}: apt-get install {package}"
            if os.environ.get("CI"):
                pytest.fail(reason)
            pytest.skip(reason)


@pytest.fixture(scope="session")
def prometheus_programs() -> None:
    """Prometheus, Alertmanager and their tools."""
    need({"prometheus": "prometheus", "promtool": "prometheus", "amtool": "prometheus-alertmanager"})


@pytest.fixture(scope="session")
def curl() -> None:
    """The program that Triton's pods ask Triton with."""
    need({"curl": "curl"})


@pytest.fixture(scope="session")
def ensemble_members() -> tuple[str, ...]:
    """Names of the networks that vote in the ensemble of model_repository/, in its order."""
    config = (ROOT / "model_repository" / "ensemble" / "config.pbtxt").read_text()
    found = re.search(r'key: "members" value: { string_value: "([^"]+)" }', config)
    assert found is not None, "the ensemble does not say who its members are"
    return tuple(found[1].split(","))


@pytest.fixture(scope="session")
def field_files(data_folder: Path | None, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """At least 12 whole smear fields with white cells in them: real ones, else generated ones."""
    if data_folder is not None:
        return sorted((data_folder / "bccd" / "val" / "images").iterdir())
    from hemaserve import synthetic

    folder = tmp_path_factory.mktemp("fields")
    paths = []
    for seed in range(12):
        path = folder / f"synthetic_{seed:02d}.png"
        path.write_bytes(synthetic.encode_png(synthetic.generate_field(seed).image))
        paths.append(path)
    return paths
