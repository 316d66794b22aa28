"""The bars: how near the services come to what the machine's networks would let them be. `python -m benchmarks bars`

Starts a stack of the default profile and measures it in rounds against its ceilings, in turns, on the same fields, with
the same ONNX files in the same precision on the same cores:

* fields a second through the gateway (closed loop, callers enough to saturate it) against the networks alone in a
  process, in the best batches and the best arrangement that was found; beside them the pipeline from file to answer in
  a process for each core, Triton asked for the same squares and crops without any service, and what the machine could
  do were it all large matrices (their operations, counted in the ONNX files, over the rate of OpenVINO's products);
* crops a second through `Classify` against Triton driven directly by perf_analyzer and by a client of ours;
* one caller's `AnalyzeField` against the sum of its networks' times;
* p99 against p50 at 70% of the peak, calls at random moments, latency counted from when each was due;
* Xception and ViT through `Classify` against ONNX Runtime in fp32 in a process.

Load comes from processes of its own, whose processor time is in the results. Every ratio is of neighbours in time; what
is reported is the median of the rounds with the least and the greatest.
"""

import argparse
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import psutil

from benchmarks import images
from benchmarks.apart import Apart
from benchmarks.call_load import closed_loop, loading, routine_at_random
from benchmarks.claims import claim
from benchmarks.classifiers import embedded_config, embedded_options
from benchmarks.machine import commit, facts
from benchmarks.rounds import interleaved, ratio, spread
from benchmarks.speed import arithmetic, crop_load, field_load, networks, perf_analyzer
from benchmarks.speed.crop_load import Asked
from benchmarks.speed.networks import DETECTOR, ENSEMBLE, arrangements
from benchmarks.speed.session import Session, outputs, session, write

CORES: Final = psutil.cpu_count() or 1
SHARE_OF_PEAK: Final = 0.7
AT_ONCE: Final = (3, 4, 6, 8)
ASKED: Final = tuple(Asked(batch, at_once) for batch in (16, 32, 64) for at_once in (2, 4, 6))
FP32_NETWORKS: Final = ("xception", "vit")
FP32_SIZES: Final = (1, 4, 8, 16, 32, 64)


@dataclass(frozen=True, slots=True)
class Length:
    """How long to measure.

    Attributes:
        fields: how many different ones.
        rounds: of each pair.
        seconds: of a round.
        search_s: of each try when looking for what is best.
        tail_s: of load at a share of the peak.
    """

    fields: int
    rounds: int
    seconds: float
    search_s: float
    tail_s: float


QUICK: Final = Length(fields=12, rounds=3, seconds=3.0, search_s=0.4, tail_s=15.0)
FULL: Final = Length(fields=24, rounds=7, seconds=8.0, search_s=1.0, tail_s=120.0)


def measure(length: Length, repository: Path, only: Sequence[str] = ()) -> dict[str, Any]:
    """All figures, or those of some parts.

    Args:
        only: names of `PARTS`; empty for all.
    """
    found: dict[str, Any] = {}
    with session(images.fields(length.fields), repository) as ours:
        found |= ours.facts()
        for name in only or PARTS:
            _say(f"{name} ...")
            found[name] = PARTS[name](ours, length, found)
    return found


def _fields(ours: Session, length: Length, _: Mapping[str, Any]) -> dict[str, Any]:
    """Fields a second, and a field alone."""
    with ExitStack() as held:
        load = held.enter_context(Apart(loading, ours.plan()))
        ours.watched(load, closed_loop, length.seconds, 4)
        at_once = {
            many: ours.watched(load, closed_loop, 4 * length.search_s, many).per_second for many in AT_ONCE
        }
        best_at_once = max(at_once, key=at_once.__getitem__)
        ceilings = _ceilings(held, ours, length)
        best = max(ceilings, key=lambda ceiling: ceiling.fields_per_second(4 * length.search_s))
        lanes = [
            held.enter_context(Apart(networks.whole_pipeline, ours.repository, ours.images.files))
            for _ in range(CORES)
        ]
        directly = held.enter_context(
            Apart(
                field_load.triton,
                ours.address("triton"),
                outputs(ours.repository, DETECTOR),
                outputs(ours.repository, ENSEMBLE),
                ours.work,
            )
        )
        asked = {many: directly.do(many, 4 * length.search_s)[0] for many in AT_ONCE}
        best_asked = max(asked, key=asked.__getitem__)
        products = held.enter_context(Apart(arithmetic.products, CORES))
        networks.side_by_side(lanes, length.search_s)
        rounds: dict[str, list[Any]] = interleaved(
            {
                "ceiling": lambda: best.fields_per_second(length.seconds),
                "gateway": lambda: ours.watched(load, closed_loop, length.seconds, best_at_once),
                "triton": lambda: directly.do(best_asked, length.seconds)[0],
                "pipeline": lambda: sum(networks.side_by_side(lanes, length.seconds)),
                "arithmetic": lambda: products.do(length.seconds / 4)[0],
            },
            length.rounds,
        )
        served = [each.per_second for each in rounds["gateway"]]
        alone = interleaved(
            {
                "networks_ms": lambda: best.process.do("one_at_a_time", length.seconds / 2)[0],
                "gateway_ms": lambda: _median_ms(ours, load, length.seconds),
            },
            length.rounds,
        )
        sums = [sum(each.values()) for each in alone["networks_ms"]]
        peak = statistics.median(served)
        _say(f"{SHARE_OF_PEAK:.0%} of {peak:.1f} fields a second ...")
        tail = ours.watched(load, routine_at_random, length.tail_s, SHARE_OF_PEAK * peak)
    return {
        "gateway": {
            "at_once": best_at_once,
            "tried": at_once,
            "fields_per_second": spread(served),
            "cpu_ms_per_field": _medians([each.cpu_ms_per_field() for each in rounds["gateway"]]),
            "load_cpu_share": spread(
                [each.cpu_s["load"] / sum(each.cpu_s.values()) for each in rounds["gateway"]]
            ),
        },
        "ceiling": {
            **best.facts(),
            "fields_per_second": spread(rounds["ceiling"]),
            "others": [each.facts() for each in ceilings if each is not best],
        },
        "ratio": ratio(served, rounds["ceiling"]),
        "triton": {
            "at_once": best_asked,
            "tried": asked,
            "fields_per_second": spread(rounds["triton"]),
            "ratio": ratio(served, rounds["triton"]),
        },
        "pipeline": {
            "fields_per_second": spread(rounds["pipeline"]),
            "ratio": ratio(served, rounds["pipeline"]),
        },
        "arithmetic": _arithmetic(ours, rounds["arithmetic"]),
        "alone": {
            "gateway_ms": spread(alone["gateway_ms"]),
            "networks_ms": spread(sums),
            "by_network_ms": _medians(alone["networks_ms"]),
            "ratio": ratio(alone["gateway_ms"], sums),
        },
        "tail": {
            "share_of_peak": SHARE_OF_PEAK,
            "asked_per_second": round(SHARE_OF_PEAK * peak, 2),
            **percentiles([1000 * each for each in tail.load.seconds()]),
            "calls": len(tail.load.calls),
            "not_answered": sum(call.outcome != "ok" for call in tail.load.calls),
            "generator_late_ms": percentiles([1000 * call.late_s for call in tail.load.calls]),
        },
    }


def _arithmetic(ours: Session, rounds: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Operations of a field, and fields a second were they all done as fast as large matrices are multiplied."""
    names = (DETECTOR, *networks.members(ours.repository))
    gflop = {name: arithmetic.gflop(networks.onnx_file(ours.repository, name)) for name in names}
    squares = statistics.mean(sum(map(len, field.squares)) for field in ours.work)
    crops = statistics.mean(len(field.crops) for field in ours.work)
    of_a_field = squares * gflop[names[0]] + crops * sum(gflop[name] for name in names[1:])
    rates = {precision: [each[precision] for each in rounds] for precision in rounds[0]}
    return {
        "gflop": {name: round(each, 4) for name, each in gflop.items()},
        "gflop_per_field": round(of_a_field, 3),
        "gflop_per_second": {precision: spread(each) for precision, each in rates.items()},
        "fields_per_second": {
            precision: spread([rate / of_a_field for rate in each]) for precision, each in rates.items()
        },
    }


def _ceilings(held: ExitStack, ours: Session, length: Length) -> list[networks.Ceiling]:
    found = []
    for arrangement in arrangements(CORES):
        process = held.enter_context(Apart(networks.pipeline, ours.repository, ours.work, arrangement))
        chosen, _ = process.do("choose", length.search_s)
        found.append(networks.Ceiling(arrangement, process, chosen))
    return found


def _median_ms(ours: Session, load: Apart, seconds: float) -> float:
    return 1000 * statistics.median(ours.watched(load, closed_loop, seconds, 1).good_seconds())


def _crops(ours: Session, length: Length, _: Mapping[str, Any]) -> dict[str, Any]:
    """Crops a second through `Classify` and out of Triton."""
    asked_for, program = outputs(ours.repository, ENSEMBLE), perf_analyzer.program()
    with ExitStack() as held:
        classify = held.enter_context(
            Apart(crop_load.classify, ours.address("classifier"), ENSEMBLE, ours.crops)
        )
        direct = held.enter_context(
            Apart(crop_load.triton, ours.address("triton"), ENSEMBLE, asked_for, ours.crops)
        )
        best, tried = {}, {}
        # Triton refuses more crops than the network takes at once; the service divides them.
        most = embedded_config(ours.repository / ENSEMBLE).max_batch_size
        for name, process, batches in (("classify", classify, ASKED), ("triton", direct, _up_to(most))):
            rates = {each: process.do(each, 4 * length.search_s)[0] for each in batches}
            best[name] = max(rates, key=rates.__getitem__)
            tried[name] = [{**asdict(each), "crops_per_second": rate} for each, rate in rates.items()]
        contenders: dict[str, Callable[[], float]] = {
            "classify": lambda: classify.do(best["classify"], length.seconds)[0],
            "triton": lambda: direct.do(best["triton"], length.seconds)[0],
        }
        if program is not None:
            contenders["perf_analyzer"] = lambda: perf_analyzer.crops_per_second(
                program,
                ours.address("triton"),
                ENSEMBLE,
                ours.crops,
                batch=best["triton"].batch,
                concurrency=best["triton"].at_once,
                seconds=length.seconds / 3,
            )
        rounds = interleaved(contenders, length.rounds)
    directly = {name: spread(rounds[name]) for name in rounds if name != "classify"}
    by = max(directly, key=lambda name: directly[name]["median"])
    return {
        "classify": {**asdict(best["classify"]), "crops_per_second": spread(rounds["classify"])},
        "directly": {**asdict(best["triton"]), "by": by, **directly},
        "ratio": ratio(rounds["classify"], rounds[by]),
        "tried": tried,
    }


def _up_to(crops: int) -> list[Asked]:
    return [asked for asked in ASKED if asked.batch <= crops]


def _fp32(ours: Session, length: Length, _: Mapping[str, Any]) -> dict[str, Any]:
    """Single networks served, against ONNX Runtime in fp32 in a process."""
    return {name: _against_fp32(name, ours, length) for name in FP32_NETWORKS}


def _against_fp32(name: str, ours: Session, length: Length) -> dict[str, Any]:
    options = replace(embedded_options(ours.repository, name), runtime="onnxruntime")
    with ExitStack() as held:
        classify = held.enter_context(Apart(crop_load.classify, ours.address("classifier"), name, ours.crops))
        classify.do(Asked(16, 4), 2.0)  # Triton loads it now, and it is warm
        rates = {each: classify.do(each, 4 * length.search_s)[0] for each in ASKED}
        asked = max(rates, key=rates.__getitem__)
        processes = {
            arrangement: held.enter_context(
                Apart(networks.single, ours.repository, name, options, ours.crops, arrangement)
            )
            for arrangement in arrangements(CORES)
        }
        tried = {
            (arrangement, size): rate
            for arrangement, process in processes.items()
            for size, rate in process.do(length.search_s, FP32_SIZES)[0].items()
        }
        arrangement, size = max(tried, key=tried.__getitem__)
        rounds = interleaved(
            {
                "served": lambda: classify.do(asked, length.seconds)[0],
                "fp32": lambda: processes[arrangement].do(length.seconds, [size])[0][size],
            },
            length.rounds,
        )
    return {
        "served": {**asdict(asked), "crops_per_second": spread(rounds["served"])},
        "fp32": {**asdict(arrangement), "batch": size, "crops_per_second": spread(rounds["fp32"])},
        "ratio": ratio(rounds["served"], rounds["fp32"]),
    }


PARTS: Final = {"fields": _fields, "crops": _crops, "fp32": _fp32}
"""What is measured, by name."""


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Median and 99th percentile; none of fewer than two values."""
    if len(values) < 2:
        return {}
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {"p50": round(cuts[49], 2), "p99": round(cuts[98], 2)}


def claims(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What was measured, against what it is to be."""
    made = []
    if "fields" in found:
        fields = found["fields"]
        tail = fields["tail"]
        stretch = tail["p99"] / tail["p50"]
        made += [
            _at_least(
                "Fields a second through the gateway, over the networks alone in a process",
                0.85,
                fields["ratio"],
            ),
            _at_most(
                "`AnalyzeField` p50 of one caller, over the sum of its networks' times",
                1.15,
                fields["alone"]["ratio"],
            ),
            claim("p99 over p50 at 70% of the peak", "≤ 3", f"{stretch:.2f}", holds=stretch <= 3),
        ]
    if "crops" in found:
        made.append(
            _at_least(
                "Crops a second through `Classify`, over the best of Triton driven directly",
                0.95,
                found["crops"]["ratio"],
            )
        )
    for name, each in found.get("fp32", {}).items():
        made.append(
            _at_least(
                f"Crops a second of {name} served, over ONNX Runtime in fp32 in a process", 1.6, each["ratio"]
            )
        )
    return made


def _at_least(what: str, bar: float, measured: Mapping[str, Any]) -> dict[str, Any]:
    return claim(what, f"≥ {bar:g}", in_words(measured), holds=measured["median"] >= bar)


def _at_most(what: str, bar: float, measured: Mapping[str, Any]) -> dict[str, Any]:
    return claim(what, f"≤ {bar:g}", in_words(measured), holds=measured["median"] <= bar)


def in_words(measured: Mapping[str, Any]) -> str:
    """A spread: its median, and the least and greatest."""
    return f"{measured['median']:.3g} ({measured['min']:.3g} to {measured['max']:.3g})"


def _medians(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: round(statistics.median(row[name] for row in rows), 3) for name in rows[0]}


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="about three minutes instead of twelve")
    parser.add_argument("--part", choices=PARTS, action="append", default=[], help="default: all of them")
    parser.add_argument("--repository", type=Path, default=Path("model_repository"), help="Triton's models")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    asked = parser.parse_args(arguments)
    found = measure(QUICK if asked.quick else FULL, asked.repository, asked.part)
    document = {
        "command": "python -m benchmarks bars"
        + (" --quick" if asked.quick else "")
        + "".join(f" --part {each}" for each in asked.part),
        **facts(),
        "commit": commit(),
        "claims": claims(found),
        **found,
    }
    if asked.json:
        write(asked.json, document)
    for one in document["claims"]:
        print(
            f"{'yes' if one['holds'] else 'NO ':3}  {one['claim']}: {one['measured']}, has to be {one['bar']}"
        )


if __name__ == "__main__":
    main()
