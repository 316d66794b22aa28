"""What can be measured here. `python -m benchmarks NAME --help` says how each is done."""

import importlib
import sys
from collections.abc import Sequence
from typing import Final

BENCHMARKS: Final = {
    "bars": ("benchmarks.speed.bars", "fields and crops a second, and latency, against their ceilings"),
    "empty": ("benchmarks.speed.empty", "what our own code costs: networks that do nothing"),
    "curves": ("benchmarks.speed.curves", "latency and throughput with load, callers, cells and sizes"),
    "start": ("benchmarks.speed.start", "from `up` to the first answer, and loading of each network"),
    "regression": ("benchmarks.speed.regression", "the cheap ratios against those that were recorded"),
    "peers": ("benchmarks.peers.__main__", "the pipeline in other people's servers, in turns with ours"),
    "profile": ("benchmarks.speed.profile", "where each service spends its time under load (py-spy)"),
    "perf_analyzer": ("benchmarks.speed.perf_analyzer", "fetch NVIDIA's load generator for Triton"),
    "crops_per_second": ("benchmarks.crops_per_second", "crops a second of each classifier, docs/accuracy"),
    "footprint": ("benchmarks.footprint", "memory, and time to ready, of each profile"),
    "capacity": ("benchmarks.capacity.__main__", "service times for the simulation, and what it predicts"),
    "autoscaling": ("benchmarks.autoscaling.__main__", "autoscalers on traces of load, docs/scaling.md"),
    "overload": ("benchmarks.overload", "several times the load that the stack can carry"),
    "faults": ("benchmarks.faults", "random faults under load"),
    "soak": ("benchmarks.soak", "an even load for a long time"),
    "hostile": ("benchmarks.hostile", "hostile input by every way in"),
    "fuzz": ("benchmarks.fuzz", "what the hostile corpus does not have"),
}
"""By name: the module whose `main` it is, and what it measures."""


def main(arguments: Sequence[str]) -> None:
    """Run the benchmark that the first argument names with the others."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(overview())
        return
    name, *others = arguments
    if name not in BENCHMARKS:
        sys.exit(f"no benchmark {name!r}; there are {', '.join(BENCHMARKS)}")
    module, _ = BENCHMARKS[name]
    sys.argv = [f"python -m benchmarks {name}", *others]
    sys.exit(importlib.import_module(module).main())


def overview() -> str:
    """What there is."""
    width = max(map(len, BENCHMARKS))
    lines = [f"  {name:{width}}  {what}" for name, (_, what) in BENCHMARKS.items()]
    return "\n".join([str(__doc__), "usage: python -m benchmarks NAME [ARGUMENTS]", "", *lines])


if __name__ == "__main__":
    main(sys.argv[1:])
