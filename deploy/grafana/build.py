"""Dashboards as Grafana reads them, made by the builders of grafana-foundation-sdk."""

from __future__ import annotations

import json
from collections.abc import Callable

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import prometheus as prometheus_models

from deploy.grafana.panel import Board, Book, Panel, Query, Show, Variable

TAG = "tinymlaas"
_COLOURS = {
    Show.LINES: models.FieldColorModeId.PALETTE_CLASSIC,
    Show.STACK: models.FieldColorModeId.PALETTE_CLASSIC,
    Show.NUMBER: models.FieldColorModeId.THRESHOLDS,
    Show.TABLE: models.FieldColorModeId.THRESHOLDS,
}
_Built = timeseries.Panel | stat.Panel | table.Panel
SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")


def text_of(board: Board, book: Book) -> str:
    """Return the dashboard's JSON, the same for the same board."""
    built = _dashboard(board, book).build()
    return json.dumps(built, cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _dashboard(board: Board, book: Book) -> dashboard.Dashboard:
    made = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.about)
        .tags([TAG])
        .editable()
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .time("now-3h", "now")
        .refresh("30s")
        .with_variable(
            dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")
        )
    )
    for variable in board.variables:
        made.with_variable(_variable(variable))
    for other in book.boards:
        if other is not board:
            made.link(_link(other))
    numbers = {panel.key: number for number, panel in board.panels()}
    for index, row in enumerate(board.rows):
        made.with_row(dashboard.Row(row.title).id(1000 + index))
        for panel in row.panels:
            made.with_panel(_panel(panel, numbers[panel.key]))
    return made


def _variable(variable: Variable) -> dashboard.QueryVariable:
    made = (
        dashboard.QueryVariable(variable.name)
        .label(variable.title)
        .datasource(SOURCE)
        .query(f"label_values({variable.metric}, {variable.label})")
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(variable.several)
        .include_all(variable.several)
    )
    return made.all_value(".+") if variable.several else made


def _link(board: Board) -> dashboard.DashboardLink:
    return (
        dashboard.DashboardLink(board.title)
        .type(models.DashboardLinkType.LINK)
        .url(f"/d/{board.uid}")
        .icon("dashboard")
        .keep_time(True)
        .include_vars(True)
    )


def _panel(panel: Panel, number: int) -> _Built:
    kinds: dict[Show, Callable[[Panel], _Built]] = {Show.NUMBER: _number, Show.TABLE: _table}
    made = kinds.get(panel.show, _lines)(panel)
    (
        made.id(number)
        .title(panel.title)
        .description(panel.about)
        .datasource(SOURCE)
        .unit(panel.unit)
        .span(panel.width)
        .height(panel.height)
        .thresholds(_thresholds(panel))
        .color_scheme(dashboard.FieldColor().mode(_COLOURS[panel.show]))
    )
    for index, query in enumerate(panel.queries):
        made.with_target(_target(query, index, panel.show))
    return made


def _lines(panel: Panel) -> timeseries.Panel:
    stacked = panel.show is Show.STACK
    bounded = panel.warn is not None or panel.bad is not None
    style = common_models.GraphTresholdsStyleMode
    made = (
        timeseries.Panel()
        .fill_opacity(30 if stacked else 5)
        .line_width(1)
        .show_points(common_models.VisibilityMode.NEVER)
        .thresholds_style(
            common.GraphThresholdsStyleConfig().mode(style.DASHED if bounded else style.OFF)
        )
        .legend(
            common.VizLegendOptions()
            .display_mode(common_models.LegendDisplayMode.LIST)
            .placement(common_models.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(common.VizTooltipOptions().mode(common_models.TooltipDisplayMode.MULTI))
    )
    if stacked:
        made.stacking(common.StackingConfig().mode(common_models.StackingMode.NORMAL))
    return made if panel.least is None else made.min(panel.least)


def _number(panel: Panel) -> stat.Panel:
    return (
        stat.Panel()
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .graph_mode(common_models.BigValueGraphMode.NONE)
        .color_mode(common_models.BigValueColorMode.VALUE)
    )


def _table(panel: Panel) -> table.Panel:
    return table.Panel().show_header(True)


def _thresholds(panel: Panel) -> dashboard.ThresholdsConfig:
    """Green, then orange and red; where low is bad the other way round."""
    if panel.low:
        bounds = ((None, "red"), (panel.bad, "orange"), (panel.warn, "green"))
        if panel.warn is None:
            bounds = ((None, "red"), (panel.bad, "green"), (None, ""))
    else:
        bounds = ((None, "green"), (panel.warn, "orange"), (panel.bad, "red"))
    steps = [
        models.Threshold(value=value, color=color)
        for index, (value, color) in enumerate(bounds)
        if index == 0 or value is not None
    ]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


def _target(query: Query, index: int, show: Show) -> prometheus.Dataquery:
    made = prometheus.Dataquery().expr(query.expr).ref_id(chr(ord("A") + index)).datasource(SOURCE)
    if show is Show.TABLE:
        return made.instant().format(prometheus_models.PromQueryFormat.TABLE)
    if show is Show.NUMBER:
        return made.instant()
    return made.range().legend_format(query.legend)
