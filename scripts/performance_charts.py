"""The charts of docs/performance.md, as SVG files beside its figures."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from accuracy_charts import Chart
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter
from measured_page import Documents

from hemaserve.evaluation.pictures import BLUE, ORANGE

GREY: Final = "#8a8a8a"
_COSTS: Final = ("ms, one caller", "fields a second")
_LEAST_MS: Final = 0.3
"""A process that takes less of a field is not told apart."""


def charts(documents: Documents) -> list[Chart]:
    """The charts for which there are figures."""
    drawn: list[Chart] = []
    if (bars := documents.get("bars")) is not None and "fields" in bars:
        drawn += [
            Chart(
                "ceilings.svg",
                "Fields a second through the gateway, and what bounds them",
                {"rows": _ceilings(bars["fields"])},
                _draw_ceilings,
                (7.2, 2.2),
            ),
            Chart(
                "processors.svg",
                "Processor time for a field, by process",
                {"saturated": _processes(bars["fields"]["gateway"]["cpu_ms_per_field"])},
                _draw_processors,
                (7.2, 2.4),
            ),
        ]
    if (curves := documents.get("curves")) is not None:
        drawn += [
            Chart(
                "load.svg",
                "Latency against throughput, calls at random moments",
                {
                    "points": [
                        _of(each, "fields_per_second", "p50_ms", "p99_ms") for each in curves["by_load"]
                    ]
                },
                _draw_load,
                (6.4, 3.2),
            ),
            Chart(
                "callers.svg",
                "Throughput and latency with callers",
                {
                    "points": [
                        _of(each, "callers", "fields_per_second", "p50_ms", "p99_ms")
                        for each in curves["by_callers"]
                    ]
                },
                _draw_callers,
                (6.4, 4.2),
                panels=2,
            ),
            Chart(
                "stages.svg",
                "One field, stage by stage",
                {"stages": list(curves["stages_ms"].items())},
                _draw_stages,
                (7.2, 2.2),
            ),
            Chart(
                "cells.svg",
                "Time for a field with its white cells",
                {
                    "points": [
                        _of(each, "cells", "alone_p50_ms", "fields_per_second") for each in curves["by_cells"]
                    ]
                },
                _draw_cells,
                (6.4, 4.2),
                panels=2,
            ),
            Chart(
                "sizes.svg",
                "Time for a field with its size",
                {"points": [_size(each) for each in curves["by_size"]]},
                _draw_sizes,
                (6.4, 4.2),
                panels=2,
            ),
            Chart(
                "models.svg",
                "Time for a field and memory with networks loaded that nobody asks for",
                {
                    "points": [
                        _of(each, "models", "alone_p50_ms", "fields_per_second", "memory_mb")
                        for each in curves["by_models"]
                    ]
                },
                _draw_models,
                (6.4, 6.0),
                panels=3,
            ),
        ]
    return drawn


def _ceilings(fields: Mapping[str, Any]) -> list[list[Any]]:
    arithmetic = fields["arithmetic"]["fields_per_second"]
    precision = "bf16" if "bf16" in arithmetic else "f32"
    rows = {
        "gateway": fields["gateway"]["fields_per_second"],
        "pipeline in processes": fields["pipeline"]["fields_per_second"],
        "Triton asked directly": fields["triton"]["fields_per_second"],
        "networks alone": fields["ceiling"]["fields_per_second"],
        f"arithmetic, {precision}": arithmetic[precision],
    }
    return [[name, each["median"], each["min"], each["max"]] for name, each in rows.items()]


def _processes(cpu_ms: Mapping[str, float]) -> list[list[Any]]:
    return [[name, ms] for name, ms in cpu_ms.items() if ms >= _LEAST_MS]


def _of(point: Mapping[str, Any], *names: str) -> list[Any]:
    return [point[name] for name in names]


def _size(point: Mapping[str, Any]) -> list[Any]:
    megapixels = point["width_px"] * point["height_px"] / 1e6
    return [round(megapixels, 3), point["alone_p50_ms"], point["fields_per_second"]]


def _draw_ceilings(axes: Any, series: Mapping[str, Any]) -> None:
    names, medians, least, most = zip(*series["rows"], strict=True)
    errors = [
        [median - low for median, low in zip(medians, least, strict=True)],
        [high - median for median, high in zip(medians, most, strict=True)],
    ]
    colours = [BLUE, *[GREY] * (len(names) - 1)]
    axes.barh(names, medians, xerr=errors, color=colours, height=0.6, error_kw={"lw": 1, "capsize": 3})
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("fields a second; lines: least and greatest round")


def _draw_processors(axes: Any, series: Mapping[str, Any]) -> None:
    names, times = zip(*series["saturated"], strict=True)
    axes.barh(names, times, color=[GREY if _networks(name) else BLUE for name in names], height=0.6)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("ms of processor time a field; grey: the networks")


def _networks(name: str) -> bool:
    return "network instance" in name


def _draw_load(axes: Any, series: Mapping[str, Any]) -> None:
    rates, medians, tails = zip(*series["points"], strict=True)
    axes.plot(rates, tails, "o-", color=ORANGE, ms=3, label="99% within")
    axes.plot(rates, medians, "o-", color=BLUE, ms=3, label="median")
    axes.set_yscale("log")
    _plain(axes.yaxis)
    axes.set(xlabel="fields answered a second", ylabel="ms from when it was due")
    axes.legend(frameon=False)


def _draw_callers(axes: Any, series: Mapping[str, Any]) -> None:
    above, below = axes
    callers, rates, medians, tails = zip(*series["points"], strict=True)
    above.plot(callers, rates, "o-", color=BLUE, ms=3)
    above.set_ylabel("fields a second")
    above.set_ylim(bottom=0)
    below.plot(callers, tails, "o-", color=ORANGE, ms=3, label="99% within")
    below.plot(callers, medians, "o-", color=BLUE, ms=3, label="median")
    below.set_xscale("log", base=2)
    below.set_yscale("log")
    _plain(below.xaxis)
    _plain(below.yaxis)
    below.set_xticks(callers)
    below.set(xlabel="callers, each with one call under way", ylabel="ms")
    below.legend(frameon=False)


def _draw_stages(axes: Any, series: Mapping[str, Any]) -> None:
    names, times = zip(*series["stages"], strict=True)
    axes.barh(names, times, color=[GREY if name.startswith("Triton") else BLUE for name in names], height=0.6)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("ms, median of single calls; a service's time holds that of what it calls")


def _draw_cells(axes: Any, series: Mapping[str, Any]) -> None:
    _draw_costs(axes, series["points"], "white cells in a field of 640 x 480 px")


def _draw_sizes(axes: Any, series: Mapping[str, Any]) -> None:
    _draw_costs(axes, series["points"], "megapixels of the same view, with 2 white cells")


def _draw_models(axes: Any, series: Mapping[str, Any]) -> None:
    _draw_costs(axes, series["points"], "further networks loaded", (*_COSTS, "MB, all processes"))


def _draw_costs(
    panels: Any, points: Iterable[Sequence[float]], label: str, costs: Sequence[str] = _COSTS
) -> None:
    """One panel for each cost; a point is where it stands and then its costs."""
    places, *measured = zip(*points, strict=True)
    for axes, cost, values in zip(panels, costs, measured, strict=True):
        axes.plot(places, values, "o-", color=BLUE, ms=3)
        axes.set_ylabel(cost)
        axes.set_ylim(0, 1.1 * max(values))
    panels[-1].set_xlabel(label)


def _plain(axis: Any) -> None:
    """Numbers on a logarithmic axis as people write them."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(ScalarFormatter())
    axis.set_minor_formatter(NullFormatter())
