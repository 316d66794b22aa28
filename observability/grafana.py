"""Dashboards as Grafana's JSON, by its own foundation SDK, whose types are made from Grafana's schema."""

import itertools
from typing import Any, Final

from grafana_foundation_sdk.builders import bargauge, stat, timeseries
from grafana_foundation_sdk.builders.common import ReduceDataOptions, VizLegendOptions, VizTooltipOptions
from grafana_foundation_sdk.builders.dashboard import Dashboard as Builder
from grafana_foundation_sdk.builders.dashboard import DashboardLink, DatasourceVariable
from grafana_foundation_sdk.builders.dashboard import Row as RowBuilder
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    TooltipDisplayMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import DashboardLinkType, DataSourceRef
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from observability.dashboards import DASHBOARDS
from observability.panels import Dashboard, Panel

TAG: Final = "hemaserve"
SOURCE: Final = "${datasource}"
_WIDTH: Final = 8
_HEIGHT: Final = 8


def dashboard_files() -> dict[str, str]:
    """All dashboards as Grafana imports them, by the file's name."""
    return {
        f"{one.name}.json": JSONEncoder(sort_keys=True, indent=2).encode(_built(one)) + "\n"
        for one in DASHBOARDS
    }


def _built(one: Dashboard) -> Any:
    builder = (
        Builder(one.title)
        .uid(f"{TAG}-{one.name}")
        .description(one.meaning)
        .tags([TAG])
        .time("now-6h", "now")
        .refresh("30s")
        .timezone("browser")
        .link(
            DashboardLink("HemaServe")
            .type(DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(True)
            .keep_time(True)
        )
        .with_variable(DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    )
    numbers = itertools.count(1)
    for row in one.rows:
        builder = builder.with_row(RowBuilder(row.title).id(next(numbers)))
        for panel in row.panels:
            builder = builder.with_panel(_panel(panel).id(next(numbers)))
    return builder.build()


def _panel(panel: Panel) -> Any:
    match panel.kind:
        case "lines":
            built: Any = (
                timeseries.Panel()
                .legend(
                    VizLegendOptions()
                    .display_mode(LegendDisplayMode.TABLE)
                    .placement(LegendPlacement.BOTTOM)
                    .calcs(["lastNotNull", "max"])
                    .show_legend(True)
                )
                .tooltip(VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
                .fill_opacity(8)
            )
        case "numbers":
            built = stat.Panel().reduce_options(_last())
        case "bars":
            built = bargauge.Panel().reduce_options(_last()).orientation(VizOrientation.HORIZONTAL)
    built = (
        built.title(panel.title)
        .description(panel.meaning)
        .datasource(_source())
        .unit(panel.unit)
        .span(_WIDTH)
        .height(_HEIGHT)
    )
    if panel.may_be_empty:
        built = built.no_value(f"nothing: {panel.may_be_empty}")
    for place, query in enumerate(panel.queries):
        target = (
            Dataquery()
            .expr(query.expression)
            .legend_format(query.legend)
            .ref_id(chr(ord("A") + place))
            .datasource(_source())
            .format(PromQueryFormat.TIME_SERIES)
        )
        built = built.with_target(target.range() if panel.kind == "lines" else target.instant())
    return built


def _source() -> DataSourceRef:
    return DataSourceRef(type_val="prometheus", uid=SOURCE)


def _last() -> ReduceDataOptions:
    return ReduceDataOptions().calcs(["lastNotNull"]).values(False)
