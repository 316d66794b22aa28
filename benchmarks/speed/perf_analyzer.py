"""NVIDIA's own load generator for Triton, in a folder of its own. `python -m benchmarks perf_analyzer`

Puts perf_analyzer into .perf_analyzer/: the program out of the `tritonclient` wheel of the version that goes with the
embedded Triton (later ones have a wheel of their own, which wants a newer C library), and the two libraries that it is
linked with: CUDA's runtime from its wheel, and libb64 from the system's packages. Nothing is installed. Where it is not
there, Triton is driven by a client of ours instead, and results say so.
"""

import argparse
import csv
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from services.triton.client import Array

FOLDER: Final = Path(".perf_analyzer")
WHEELS: Final = ("tritonclient==2.51.0", "nvidia-cuda-runtime-cu12==12.*")
WANTED: Final = ("perf_analyzer", "libcudart.so.12", "libb64.so.0d")


def program(folder: Path = FOLDER) -> Path | None:
    """Where it is; None where it is not."""
    path = folder / WANTED[0]
    return path if all((folder / name).exists() for name in WANTED) else None


def crops_per_second(
    path: Path, address: str, model: str, crops: Array, *, batch: int, concurrency: int, seconds: float
) -> float:
    """Crops a second that it gets out of a classifier in Triton.

    Args:
        crops: what to send, uint8 [N, size, size, 3]; the first one is sent over and over.
        batch: crops in a request.
        concurrency: requests under way.
        seconds: length of a window; it takes three.

    Raises:
        SystemExit: it failed; its own words are in the message.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.csv"
        data = Path(folder) / "data"
        data.mkdir()
        (data / "crops").write_bytes(crops[0].tobytes())
        # Whether its windows agree is not asked of it: rounds in turns with others tell how far apart they are.
        ran = subprocess.run(
            [
                *(str(path), "-m", model, "-u", address, "-i", "grpc", "-a", "-b", str(batch)),
                *("--concurrency-range", str(concurrency), "--input-data", str(data)),
                *("-p", str(int(1000 * seconds)), "-s", "10000", "-r", "3", "-f", str(report)),
            ],
            env=os.environ | {"LD_LIBRARY_PATH": str(path.parent.absolute())},
            capture_output=True,
            text=True,
            check=False,
        )
        if not report.exists():
            raise SystemExit(f"perf_analyzer failed: {ran.stdout[-2000:]} {ran.stderr[-2000:]}")
        with report.open(newline="") as lines:
            (row,) = csv.DictReader(lines)
    return float(row["Inferences/Second"])


def fetch(folder: Path) -> None:
    """Put it into the folder.

    Raises:
        subprocess.CalledProcessError: something cannot be had; pip or apt-get has told why.
    """
    with tempfile.TemporaryDirectory() as unpacked:
        there = Path(unpacked)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(there)]
        subprocess.run([*pip, *WHEELS], check=True)
        for wheel in there.glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(there)
        subprocess.run(["apt-get", "download", "--quiet", "libb64-0d"], cwd=there, check=True)
        for package in there.glob("*.deb"):
            subprocess.run(["dpkg", "-x", str(package), str(there)], check=True)
        folder.mkdir(parents=True, exist_ok=True)
        for name in WANTED:
            found = next(path for path in there.rglob(name) if path.is_file())
            shutil.copyfile(found, folder / name)
        (folder / WANTED[0]).chmod(0o755)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where to put it")
    folder = parser.parse_args(arguments).folder
    fetch(folder)
    print(f"{folder / WANTED[0]}: ready")


if __name__ == "__main__":
    main()
