"""Measures a running HemaServe on the image sets and writes docs/accuracy.md; with --check, compares only.

    hemaserve up                                     # in another terminal
    python scripts/accuracy.py --data ../shared/data
    python scripts/accuracy.py --check               # renders from docs/accuracy/*.json and compares

Every figure on the page comes from a JSON file below docs/accuracy, which the command printed beside it wrote.
"""

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from accuracy_page import MEASUREMENTS, Document, Measurement, render

from hemaserve.client import DEFAULT_ADDRESS, Client
from hemaserve.results import as_json

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "accuracy.md"
RESULTS = ROOT / "docs" / "accuracy"


def measure(data: Path, address: str, chosen: Sequence[Measurement]) -> None:
    """Run the measurements against the stack at `address` and store their JSON files."""
    models = asyncio.run(_models(address))
    RESULTS.mkdir(parents=True, exist_ok=True)
    for measurement in chosen:
        print(measurement.shown, flush=True)
        document = _run(measurement, data, address)
        document["date"] = datetime.now(UTC).date().isoformat()
        _store(RESULTS / f"{measurement.name}.json", document)
    _store(RESULTS / "models.json", {"models": models})


async def _models(address: str) -> object:
    async with Client(address) as client:
        return as_json(await client.list_models())


def _run(measurement: Measurement, data: Path, address: str) -> Document:
    beside_python = Path(sys.executable).with_name("hemaserve")
    command = str(beside_python) if beside_python.exists() else shutil.which("hemaserve")
    if command is None:
        raise SystemExit("the hemaserve command is missing: pip install -e '.[evaluate]'")
    with tempfile.TemporaryDirectory() as folder:
        json_file = Path(folder) / "figures.json"
        arguments = measurement.command(str(data), str(json_file))
        done = subprocess.run([command, *arguments, "--address", address], check=False)
        if done.returncode != 0:
            raise SystemExit(
                f"{measurement.shown} ended with exit code {done.returncode}; nothing was stored"
            )
        return dict(json.loads(json_file.read_text(encoding="utf-8")))


def _store(path: Path, document: Document) -> None:
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    data = os.environ.get("HEMASERVE_DATA", str(ROOT.parent / "shared" / "data"))
    parser.add_argument(
        "--data", type=Path, default=Path(data), help="the image sets; default $HEMASERVE_DATA"
    )
    parser.add_argument("--address", default=DEFAULT_ADDRESS, help="the gateway's host:port")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=[m.name for m in MEASUREMENTS],
        help="measure these again, keep the others",
    )
    parser.add_argument("--render", action="store_true", help="only write the page anew, from the JSON files")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail when the page is not current"
    )
    arguments = parser.parse_args()
    if arguments.check:
        if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != render(RESULTS):
            raise SystemExit("docs/accuracy.md is not current: run python scripts/accuracy.py --render")
        return
    if not arguments.render:
        chosen = [m for m in MEASUREMENTS if arguments.only is None or m.name in arguments.only]
        measure(arguments.data, arguments.address, chosen)
    PAGE.write_text(render(RESULTS), encoding="utf-8")


if __name__ == "__main__":
    main()
