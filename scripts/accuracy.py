"""Measures a running HemaServe on the image sets and writes docs/accuracy.md; with --check, compares only.

    hemaserve up --models ''                         # in another terminal; all networks, to measure them all
    python scripts/accuracy.py --data ../shared/data
    python scripts/accuracy.py --check               # renders from docs/accuracy/*.json and compares

Every figure on the page comes from a JSON file below docs/accuracy, which the command printed beside it wrote. What was
not measured is said to be not measured. `--label left-out` measures a stack whose networks were trained without bccd,
and keeps its figures in docs/accuracy/left-out. Speed is measured by benchmarks/crops_per_second.py.
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

from accuracy_charts import Chart, charts
from accuracy_measurements import LEFT_OUT, Document, Measurement, measurements, read_results
from accuracy_page import render

from hemaserve.client import DEFAULT_ADDRESS, Client
from hemaserve.results import as_json

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "accuracy.md"
RESULTS = ROOT / "docs" / "accuracy"


def rendered(results: Path) -> tuple[str, list[Chart]]:
    """The page and its charts, made of the JSON files in `results`."""
    served, left_out = read_results(results), read_results(results / LEFT_OUT, LEFT_OUT)
    drawn = charts(served, left_out)
    return render(served, left_out, drawn), drawn


def measure(data: Path, address: str, label: str | None, only: Sequence[str] | None) -> list[str]:
    """Run the measurements against the stack at `address` and store their JSON files.

    Returns:
        What went wrong, one line for each measurement that gave nothing.
    """
    folder = RESULTS / (label or "")
    folder.mkdir(parents=True, exist_ok=True)
    models = asyncio.run(_models(address))
    possible = measurements(models, label)
    if unknown := set(only or ()) - {measurement.name for measurement in possible}:
        known = ", ".join(measurement.name for measurement in possible)
        raise SystemExit(f"there is no {', '.join(sorted(unknown))} to measure; there are {known}")
    _store(folder / "models.json", {"models": models})
    problems = []
    for measurement in possible:
        if only is not None and measurement.name not in only:
            continue
        print(measurement.shown, flush=True)
        try:
            document = _run(measurement, data, address)
        except subprocess.CalledProcessError as error:
            problems.append(
                f"{measurement.shown} ended with exit code {error.returncode}; nothing was stored"
            )
            continue
        document["date"] = datetime.now(UTC).date().isoformat()
        _store(folder / f"{measurement.name}.json", document)
    return problems


async def _models(address: str) -> list[Document]:
    async with Client(address) as client:
        models = as_json(await client.list_models())
    assert isinstance(models, list)  # a list stays one; this tells mypy
    return models


def _run(measurement: Measurement, data: Path, address: str) -> Document:
    """The figures of one measurement.

    Raises:
        CalledProcessError: the command failed, or could not read every image.
    """
    beside_python = Path(sys.executable).with_name("hemaserve")
    command = str(beside_python) if beside_python.exists() else shutil.which("hemaserve")
    if command is None:
        raise SystemExit("the hemaserve command is missing: pip install -e '.[evaluate]'")
    with tempfile.TemporaryDirectory() as folder:
        json_file = Path(folder) / "figures.json"
        arguments = measurement.command(str(data), str(json_file))
        subprocess.run([command, *arguments, "--address", address], check=True)
        return dict(json.loads(json_file.read_text(encoding="utf-8")))


def _store(path: Path, document: Document) -> None:
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def check() -> None:
    """Compare the page and its charts with the JSON files.

    Raises:
        SystemExit: they are not current.
    """
    page, drawn = rendered(RESULTS)
    stale = [f"docs/accuracy/{chart.name}" for chart in drawn if not chart.is_current(RESULTS)]
    if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page:
        stale.insert(0, "docs/accuracy.md")
    if stale:
        raise SystemExit(f"not current: {', '.join(stale)}; run python scripts/accuracy.py --render")


def write() -> None:
    """Write the page and its charts anew."""
    page, drawn = rendered(RESULTS)
    for chart in drawn:
        chart.write(RESULTS)
    PAGE.write_text(page, encoding="utf-8")


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
        "--label", choices=[LEFT_OUT], help="which networks the stack serves, if not the default ones"
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="measure these again, keep the others")
    parser.add_argument("--render", action="store_true", help="only write the page anew, from the JSON files")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail when the page is not current"
    )
    arguments = parser.parse_args()
    if arguments.check:
        check()
        return
    problems = []
    if not arguments.render:
        problems = measure(arguments.data, arguments.address, arguments.label, arguments.only)
    write()
    if problems:
        raise SystemExit("\n".join(problems))


if __name__ == "__main__":
    main()
