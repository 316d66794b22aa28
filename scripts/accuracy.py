"""Measures a running HemaServe on the image sets, and writes docs/accuracy.md and docs/networks.md.

    hemaserve up --models ''                         # in another terminal; all networks, to measure them all
    python scripts/accuracy.py --data ../shared/data
    python scripts/accuracy.py --check               # writes nothing, compares the pages with the JSON files

Every figure on the pages comes from a JSON file below docs/accuracy, which the command printed beside it wrote, or from
one below training/results, where the pages say so. What was not measured is said to be not measured. `--label left-out`
measures a stack whose networks were trained without bccd, `--label presets` one whose networks were trained by the
recipes of papers; their figures are kept in folders of these names. Speed is measured by
benchmarks/crops_per_second.py.
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
from accuracy_measurements import (
    DATA,
    LEFT_OUT,
    PRESETS,
    RUNS,
    Document,
    Measurement,
    load_document,
    measurements,
    read_results,
    together,
)
from accuracy_network_chart import network_chart
from accuracy_networks import networks, networks_page
from accuracy_page import render

from hemaserve.client import DEFAULT_ADDRESS, Client
from hemaserve.results import as_json

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
RESULTS = DOCS / "accuracy"
TRAINING = ROOT / "training" / "results"


def rendered(results: Path, training: Path) -> tuple[dict[str, str], list[Chart]]:
    """The pages by their files' names, and the charts, made of the JSON files in `results` and `training`."""
    served, left_out, presets = (
        read_results(results / (label or ""), label) for label in (None, LEFT_OUT, PRESETS)
    )
    compared = networks(served, presets, training)
    drawn = charts(served, left_out)
    compared_chart = network_chart(compared)
    pages = {
        "accuracy.md": render(served, left_out, presets, drawn),
        "networks.md": networks_page(compared, compared_chart, served, presets),
    }
    return pages, [*drawn, *([] if compared_chart is None else [compared_chart])]


def measure(roots: dict[str, Path], address: str, label: str | None, only: Sequence[str] | None) -> list[str]:
    """Run the measurements against the stack at `address` and store their JSON files.

    Args:
        roots: the folders with images, by how commands call them.

    Returns:
        What went wrong, one line for each measurement that gave nothing.
    """
    folder = RESULTS / (label or "")
    folder.mkdir(parents=True, exist_ok=True)
    models = asyncio.run(_models(address))
    gone: list[Document] = []
    if label == PRESETS:
        # Their stack cannot do without the default networks, which are measured as what they are.
        kept = {model["name"] for model in _known(RESULTS)}
        models = [model for model in models if model["name"] not in kept]
        # Those of earlier stacks are not kept; what was measured of them is.
        here = {model["name"] for model in models}
        gone = [model for model in _known(folder) if model["name"] not in here]
    possible = measurements(models, label)
    if unknown := set(only or ()) - {measurement.name for measurement in possible}:
        known = ", ".join(measurement.name for measurement in possible)
        raise SystemExit(f"there is no {', '.join(sorted(unknown))} to measure; there are {known}")
    _store(folder / "models.json", {"models": [*gone, *models]})
    problems = []
    for group in together(m for m in possible if only is None or m.name in only):
        print(group[0].shown, *(m.model for m in group if m.model), flush=True)
        documents = _run(group, roots, address)
        for measurement in group:
            document = documents.get(measurement.name)
            if document is None:
                problems.append(f"{measurement.name} was not measured; nothing was stored")
                continue
            document["date"] = datetime.now(UTC).date().isoformat()
            _store(folder / f"{measurement.name}.json", document)
    return problems


def _known(folder: Path) -> list[Document]:
    """The models whose figures are in a folder."""
    return list((load_document(folder / "models.json") or {"models": []})["models"])


async def _models(address: str) -> list[Document]:
    async with Client(address) as client:
        models = as_json(await client.list_models())
    assert isinstance(models, list)  # a list stays one; this tells mypy
    return models


def _run(group: Sequence[Measurement], roots: dict[str, Path], address: str) -> dict[str, Document]:
    """The figures of measurements that are made together, by name; without those that lack any image."""
    beside_python = Path(sys.executable).with_name("hemaserve")
    command = str(beside_python) if beside_python.exists() else shutil.which("hemaserve")
    if command is None:
        raise SystemExit("the hemaserve command is missing: pip install -e '.[evaluate]'")
    models = [measurement.model for measurement in group if measurement.model is not None]
    pattern = "{model}.json" if len(models) > 1 else f"{group[0].model}.json"
    with tempfile.TemporaryDirectory() as folder:
        root = str(roots[group[0].root])
        arguments = group[0].command(root, f"{folder}/{pattern}", models)
        subprocess.run([command, *arguments, "--address", address], check=False)
        found = {m.name: load_document(Path(folder) / f"{m.model}.json", whole=False) for m in group}
    return {name: document for name, document in found.items() if document and _complete(document)}


def _complete(document: Document) -> bool:
    return not (document["partial"] or document["failed"] or document["error"])


def _store(path: Path, document: Document) -> None:
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def check() -> None:
    """Compare the pages and their charts with the JSON files.

    Raises:
        SystemExit: they are not current.
    """
    pages, drawn = rendered(RESULTS, TRAINING)
    stale = [f"docs/{name}" for name, page in pages.items() if _text(DOCS / name) != page]
    stale += [f"docs/accuracy/{chart.name}" for chart in drawn if not chart.is_current(RESULTS)]
    if stale:
        raise SystemExit(f"not current: {', '.join(stale)}; run python scripts/accuracy.py --render")


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def write() -> None:
    """Write the pages and their charts anew."""
    pages, drawn = rendered(RESULTS, TRAINING)
    for chart in drawn:
        chart.write(RESULTS)
    for name, page in pages.items():
        (DOCS / name).write_text(page, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    data = os.environ.get("HEMASERVE_DATA", str(ROOT.parent / "shared" / "data"))
    parser.add_argument(
        "--data", type=Path, default=Path(data), help="the image sets; default $HEMASERVE_DATA"
    )
    runs = os.environ.get("HEMASERVE_RUNS", str(ROOT / "training" / "runs"))
    parser.add_argument(
        "--runs",
        type=Path,
        default=Path(runs),
        help="the factory's runs, with mooney/; default $HEMASERVE_RUNS",
    )
    parser.add_argument("--address", default=DEFAULT_ADDRESS, help="the gateway's host:port")
    parser.add_argument(
        "--label",
        choices=[LEFT_OUT, PRESETS],
        help="which networks the stack serves, if not the default ones",
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="measure these again, keep the others")
    parser.add_argument(
        "--render", action="store_true", help="only write the pages anew, from the JSON files"
    )
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a page is not current")
    arguments = parser.parse_args()
    if arguments.check:
        check()
        return
    problems = []
    if not arguments.render:
        roots = {DATA: arguments.data, RUNS: arguments.runs}
        problems = measure(roots, arguments.address, arguments.label, arguments.only)
    write()
    if problems:
        raise SystemExit("\n".join(problems))


if __name__ == "__main__":
    main()
