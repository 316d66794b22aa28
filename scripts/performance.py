"""Writes docs/performance.md and its charts from the measurements in docs/performance/.

python scripts/performance.py [--check]
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from accuracy_words import table
from measured_page import Document, MeasuredPage
from performance_charts import charts

COMMANDS: Final = {
    "bars": "python -m benchmarks bars --json docs/performance/bars.json",
    "empty": "python -m benchmarks empty --json docs/performance/empty.json",
    "peers": "python -m benchmarks peers compare --json docs/performance/peers.json",
    "curves": "python -m benchmarks curves --json docs/performance/curves.json",
    "start": "python -m benchmarks start --json docs/performance/start.json",
}
"""What is measured, in the page's order, and how."""

_INTRODUCTION: Final = """\
# How fast it is

Written by `scripts/performance.py` from the measurements in [performance/](performance/), made with the real stack and
the real networks. Each command tells with `--help` how it measures. Ratios are of rounds in turns on one machine in one
session, medians with the least and the greatest round in parentheses; load comes from processes of its own on the same
machine. The figures are of the machine below; ratios travel, fields a second do not.
"""


def _bars(document: Document) -> str:
    parts = ["## Against the ceilings\n", _of_what(document)]
    if "fields" in document:
        parts += [_fields(document["fields"]), _alone(document["fields"])]
    if "crops" in document:
        parts.append(_crops(document["crops"]))
    if "fp32" in document:
        parts.append(_fp32(document["fp32"]))
    return "\n".join(parts)


def _of_what(document: Document) -> str:
    images, pipeline = document["images"], document["pipeline"]
    networks = ", ".join(f"{name} `{digest[:12]}`" for name, digest in pipeline["networks"].items())
    return (
        f"{images['count']} fields ({images['source']}; {images['mean_kb']} kB on average; SHA-256 of theirs "
        f"`{images['sha256'][:12]}`), with {pipeline['squares_per_field']:.2f} pieces and "
        f"{pipeline['crops_per_field']:.2f} white cells each. Networks: {networks}, in the precision of the embedded "
        f"configuration on both sides. Commit `{document['commit']}`.\n"
    )


def _fields(found: Mapping[str, Any]) -> str:
    gateway, ceiling, arithmetic = found["gateway"], found["ceiling"], found["arithmetic"]
    triton = found["triton"]
    squares, crops = ceiling["batches"]
    lanes = f"{ceiling['lanes']} at a time with {ceiling['threads']} threads"
    precision = "bf16" if "bf16" in arithmetic["fields_per_second"] else "f32"
    gflop, rate = arithmetic["gflop_per_field"], arithmetic["gflop_per_second"][precision]["median"]
    rows = [
        [f"The gateway, {gateway['at_once']} callers", _spread(gateway["fields_per_second"]), ""],
        [
            f"The networks in a process: {lanes}, {squares} pieces and {crops} crops a batch",
            _spread(ceiling["fields_per_second"]),
            _spread(found["ratio"]),
        ],
        [
            f"Triton asked for the same directly, without any service, {triton['at_once']} fields at a time",
            _spread(triton["fields_per_second"]),
            _spread(triton["ratio"]),
        ],
        [
            "From file to answer in a process for each core, field by field",
            _spread(found["pipeline"]["fields_per_second"]),
            _spread(found["pipeline"]["ratio"]),
        ],
        [
            f"Were it all large matrices: {gflop} Gflop a field at {rate:.0f} Gflop/s ({precision})",
            _spread(arithmetic["fields_per_second"][precision]),
            "",
        ],
    ]
    cpu = [[name, f"{ms:.1f}"] for name, ms in gateway["cpu_ms_per_field"].items() if ms >= 0.05]
    return (
        table(["", "Fields a second", "The gateway, over it"], rows)
        + "\nProcessor time for a field at saturation, ms:\n\n"
        + table(["Process", "ms"], cpu)
    )


def _alone(found: Mapping[str, Any]) -> str:
    alone, tail = found["alone"], found["tail"]
    rows = [[name, f"{ms:.1f}"] for name, ms in alone["by_network_ms"].items()]
    return (
        f"One caller waits {_spread(alone['gateway_ms'])} ms (median of its calls) for a field whose networks, one "
        f"after the other with the services' threads and batches, take {_spread(alone['networks_ms'])} ms:\n\n"
        + table(["Network", "ms a field"], rows)
        + f"\nAt {tail['share_of_peak']:.0%} of the peak, {tail['asked_per_second']} fields a second at random "
        f"moments: median {tail['p50']:.0f} ms, 99% within {tail['p99']:.0f} ms of when they were due "
        f"({tail['calls']} calls, {tail['not_answered']} not answered; "
        f"the generator itself was {tail['generator_late_ms']['p99']:.0f} ms late "
        "at most in 99%).\n"
    )


def _crops(found: Mapping[str, Any]) -> str:
    names = {"triton": "a client of ours", "perf_analyzer": "perf_analyzer"}
    classify, directly = found["classify"], found["directly"]
    rows = [
        [
            f"`Classify`, {classify['batch']} crops a request, {classify['at_once']} streams",
            _spread(classify["crops_per_second"]),
        ]
    ]
    rows += [
        [
            f"Triton directly, by {words}, {directly['batch']} crops a request, {directly['at_once']} under way",
            _spread(directly[name]),
        ]
        for name, words in names.items()
        if name in directly
    ]
    return table(["The ensemble", "Crops a second"], rows)


def _fp32(found: Mapping[str, Any]) -> str:
    rows = [
        [
            name,
            _spread(each["served"]["crops_per_second"]),
            _spread(each["fp32"]["crops_per_second"]),
            f"{each['fp32']['lanes']} x {each['fp32']['threads']} threads, {each['fp32']['batch']} crops",
            _spread(each["ratio"]),
        ]
        for name, each in found.items()
    ]
    header = ["Network", "Served, crops/s", "ONNX Runtime fp32 in a process, crops/s", "arranged", "Ratio"]
    return table(header, rows)


def _empty(document: Document) -> str:
    by_cells = {str(document["cells"]): document, **document["by_cells"]}
    rows = [
        [
            cells,
            _spread(each["own_ms"]),
            f"{sum(each['bare_ms'].values()):.1f}",
            _spread(each["decoding_ms"]),
            _spread(each["fields_per_second"]),
            _spread(each["alone_p50_ms"]),
        ]
        for cells, each in by_cells.items()
    ]
    processes = [
        [
            name,
            f"{ms:.2f}",
            f"{document['system_ms'].get(name, 0):.2f}" if name in document["system_ms"] else "",
            f"{document['bare_ms'][name]:.2f}" if name in document["bare_ms"] else "",
        ]
        for name, ms in document["cpu_ms"].items()
        if ms >= 0.05
    ]
    header = [
        *("White cells", "Our own, ms", "Bare hops, ms", "Decoding, ms"),
        *("Fields a second", "Alone, ms"),
    ]
    return (
        "## The empty path\n\nThe same stack with networks that do nothing: what a field costs beside them. "
        f"Image: {document['image']['source']}; {document['at_once']} callers. *Our own* is the processor time "
        "of gateway, detector with its decoders and classifier, less that of a chain of bare grpc.aio servers that "
        "send the same bytes, and less decoding.\n\n"
        + table(header, rows)
        + f"\nBy process, ms a field, with {document['cells']} cells:\n\n"
        + table(["Process", "In all", "of it the kernel", "Bare chain"], processes)
        + _replicas(document)
    )


def _replicas(document: Document) -> str:
    if not document["by_replicas"]:
        return ""
    rows = [
        [
            replicas,
            str(each["at_once"]),
            _spread(each["own_ms"]),
            _spread(each["fields_per_second"]),
            _spread(each["alone_p50_ms"]),
        ]
        for replicas, each in {"1": document, **document["by_replicas"]}.items()
    ]
    return (
        "\nWith replicas of every stage, Triton's too, on the same cores, which they share: what it costs to have "
        "them. What further cores give is [simulated](scaling.md).\n\n"
        + table(["Replicas", "Callers", "Our own, ms", "Fields a second", "Alone, ms"], rows)
    )


def _peers(document: Document) -> str:
    images, peers = document["images"], document["peers"]
    saturated = [
        [
            name,
            *_both(each["saturation"], _rate),
            _spread(each["saturation"]["ratio"]),
            *_both(each["saturation"], lambda one: f"{one['cpu_ms_per_field']:.0f}"),
            *_both(each["memory_mb"], "{:.0f}".format),
        ]
        for name, each in peers.items()
    ]
    mixed = [
        [
            name,
            *_both(each["mixed"], _rate),
            _spread(each["mixed"]["ratio"]),
            *_both(each["mixed"], lambda one: f"{one['all']['p99_ms']:.0f}"),
            *_both(each["mixed"], lambda one: f"{one['stat']['p99_ms']:.0f}"),
        ]
        for name, each in peers.items()
    ]
    first = next(iter(peers.values()))
    return (
        "## Beside other people's servers\n\n"
        "The same pipeline, the very functions of ours, in one process a core of each peer, with the same ONNX files "
        "in the same runtime (Flask: PyTorch, eager), each as its documentation advises "
        "([what was done for each](../benchmarks/peers/README.md)). Set up so, none of them decodes apart, has "
        f"priorities, bounds what it holds or checks whose answer it got. {images['count']} fields "
        f"({images['source']}). {first['saturation']['how_much']} callers:\n\n"
        + table(
            [
                *("Peer", "Theirs, fields/s", "Ours", "Ours over theirs"),
                *("Theirs, CPU ms a field", "Ours", "Theirs, MB", "Ours"),
            ],
            saturated,
        )
        + f"\n{first['mixed']['how_much']} callers of mixed priorities, small requests among them:\n\n"
        + table(
            [
                *("Peer", "Theirs, fields/s", "Ours", "Ours over theirs"),
                *("Theirs, p99 ms", "Ours", "Theirs, STAT p99 ms", "Ours"),
            ],
            mixed,
        )
    )


def _both(found: Mapping[str, Any], in_words: Callable[[Any], str]) -> list[str]:
    return [in_words(found["theirs"]), in_words(found["ours"])]


def _rate(found: Mapping[str, Any]) -> str:
    return f"{found['fields_per_second']['median']:.1f}"


def _curves(document: Document) -> str:
    stages = [[name, f"{ms:.1f}"] for name, ms in document["stages_ms"].items()]
    callers = [
        [
            str(each["callers"]),
            f"{each['fields_per_second']:.1f}",
            f"{each['p50_ms']:.0f}",
            f"{each['p99_ms']:.0f}",
            str(each["not_answered"]),
        ]
        for each in document["by_callers"]
    ]
    models = [
        [
            str(each["models"]),
            f"{each['fields_per_second']:.1f}",
            f"{each['alone_p50_ms']:.0f}",
            f"{each['memory_mb']:.0f}",
        ]
        for each in document["by_models"]
    ]
    return (
        "## With load, callers, cells, sizes and networks loaded\n\n"
        + table(["Callers", "Fields a second", "Median, ms", "99%, ms", "Not answered"], callers)
        + "\nStage by stage, each called directly with the same fields, one call at a time:\n\n"
        + table(["Stage", "Median, ms"], stages)
        + f"\nWith further networks loaded, which nobody asks for; {document['at_once']} callers, and one:\n\n"
        + table(
            ["Further networks", "Fields a second", "One caller's median, ms", "Memory of all, MB"], models
        )
    )


def _start(document: Document) -> str:
    loading = [
        [name, f"{each['seconds']:.1f}", str(each["instances"]), f"{each['mb']:.0f}"]
        for name, each in document["loading"].items()
    ]
    ready = [[name, f"{seconds:.1f}"] for name, seconds in document["ready_s"].items()]
    return (
        "## From `hemaserve up` to the first answer\n\n"
        f"The first field was answered {_spread(document['first_answer_s'])} s after the command, when all was ready "
        f"after {_spread(document['stack_ready_s'])} s. Memory of each process: [footprint](footprint.md).\n\n"
        + table(["Part", "Ready after, s"], ready)
        + "\nEach network loaded alone into a Triton that runs, with all its instances:\n\n"
        + table(["Network", "Seconds", "Instances", "MB of theirs (PSS)"], loading)
    )


def _spread(found: Mapping[str, Any]) -> str:
    return f"{found['median']:.3g} ({found['min']:.3g} to {found['max']:.3g})"


_SECTIONS: Final[Mapping[str, Callable[[Document], str]]] = {
    "bars": _bars,
    "empty": _empty,
    "peers": _peers,
    "curves": _curves,
    "start": _start,
}


PAGE: Final = MeasuredPage(
    name="performance",
    introduction=_INTRODUCTION,
    commands=COMMANDS,
    sections=_SECTIONS,
    charts=charts,
)

if __name__ == "__main__":
    PAGE.main(__doc__)
