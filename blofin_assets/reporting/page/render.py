"""Putting a page together.

Belongs here: environment, rows as the tables want them, pictures. Does not belong here: columns (`tables`), definitions
(`glossary`), pictures (`blofin_assets.reporting.plots`).
"""

from pathlib import Path
from typing import Any, Final

import jinja2
import polars as pl
from markupsafe import Markup

from blofin_assets.reporting import pictures
from blofin_assets.reporting.collect import TOP, ReportData
from blofin_assets.reporting.document.portfolio import together
from blofin_assets.reporting.page import formats
from blofin_assets.reporting.page.glossary import Glossary
from blofin_assets.reporting.page.tables import FIGURES, LEADING, TABLES
from blofin_assets.reporting.plots import curve_names

_WAITS: Final = "insufficient"
_MOST_TESTS: Final = 30
"""Tests of drift in the picture, the surest first; the table has all."""

_TEMPLATES: Final = Path(__file__).parent / "templates"

Json = dict[str, Any]


def render_page(document: Json, data: ReportData) -> str:
    """Return the page of a report.

    Parameters
    ----------
    document : dict
        From `build_document`, with `provenance` added.
    data : ReportData
        What the plots and the tables beyond the top five are made of.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update(formats.FORMATS)
    glossary = Glossary()
    environment.globals.update(tables=TABLES, figures=FIGURES, leading=LEADING, define=glossary.term, show=_show)
    return environment.get_template("report.html.j2").render(
        report=document,
        rows=_rows(document, data),
        strategies=[_strategy(row, data) for row in document["performance"]["top_5_strategies"]],
        plots=_plots(data),
        glossary=glossary,
    )


def _show(value: Any, form: str) -> str:
    return formats.FORMATS[form](value)


def _rows(document: Json, data: ReportData) -> dict[str, list[Json]]:
    """Return the rows of every table by its name."""
    changes, ml = document["strategy_changes"], document["ml_changes"]
    live, market = document["performance"]["backtest_vs_live"], document["market"]
    return {
        "designers": changes["designers"],
        "designed": changes["designed"],
        "tuned": [{**row, "changed": _changed(row["params_changed"])} for row in changes["tuned"]],
        "archived": changes["archived"],
        "refused": changes["refused"],
        "ranking": document["ranking"],
        "lanes": data.cycles.lanes.to_dicts(),
        "tests": [row for row in live["tests"] if row["decision"] != _WAITS],
        "waiting": [row for row in live["tests"] if row["decision"] == _WAITS],
        "retunes": live["retunes"],
        "models": [
            {**row, "gain": _interval(row), "live": row["live"]["detail"]}
            for row in document["performance"]["top_5_models"]
        ],
        "trained": ml["trained"],
        "ensembles": [{**row, "gain": _interval(row)} for row in ml["ensembles_tested"]],
        "model_tuning": ml["tuned"],
        "coverage": [
            {
                **row,
                "present": row["bars"] / row["expected"] if row["expected"] else None,
                "recent": row["recent_bars"] / row["recent_expected"],
            }
            for row in market["coverage"]
        ],
        "gaps": market["gaps"],
        "closest": (document["active_set"] or {"closest": []})["closest"],
        "calls": document["claude"]["calls"],
        "stages": document["stages"],
    }


def _strategy(row: Json, data: ReportData) -> Json:
    """Return one of the best strategies with its texts and its picture."""
    exact = row["worst_pnl_pct"] == row["best_pnl_pct"] or row["worst_pnl_pct"] is None
    return {
        **row,
        "total_trades": row["trades"],
        "sharpe_range": _plus_minus(row["sharpe"], row["sharpe_se"], 1),
        "alpha_range": _plus_minus(row["alpha"], row["alpha_se"], 1),
        "range": formats.percent(row["worst_pnl_pct"])
        if exact
        else f"{formats.percent(row['worst_pnl_pct'])} to {formats.percent(row['best_pnl_pct'])}",
        "plot": _curve(row, data),
    }


def _curve(row: Json, data: ReportData) -> Markup:
    same = (pl.col("name") == row["name"]) & (pl.col("version") == row["version"])
    equity = data.cycles.strategy_equity.filter(same)
    if equity.is_empty():
        return Markup("")
    forward = data.forward.equity.filter((pl.col("kind") == "strategy") & same)
    newest = forward.filter(pl.col("activated_at") == pl.col("activated_at").max())
    label = (
        f"Equity and drawdown of {row['name']} over the exam: {formats.percent(row['total_pnl_pct'])} in "
        f"{row['trades']} trades, largest fall {formats.share(row['max_drawdown'])}"
    )
    return pictures.inline(pictures.curve_figure(equity, newest), f"s{row['rank']}", label)


def _plots(data: ReportData) -> dict[str, Markup]:
    """Return the page's other pictures; an empty one where there is nothing to draw."""
    none = Markup("")
    found = {"together": none, "correlation": none, "models": none, "gains": none, "drift": none}
    active = together(data.cycles)
    if active is not None:
        count = len(active.names)
        found["together"] = pictures.inline(
            pictures.curve_figure(active.equity, active.equity.head(0)),
            "active",
            f"Combined equity and drawdown of {count} active strategies with equal capital",
        )
        found["correlation"] = pictures.inline(
            pictures.correlation_figure(active.names, active.correlation),
            "correlation",
            f"Correlations of hourly returns between {count} active strategies, strongest pairs in the table below",
        )
    names = curve_names(data.cycles.model_equity, data.cycles.model_ranking, TOP)
    if names:
        found["models"] = pictures.inline(
            pictures.lines_figure(data.cycles.model_equity, names),
            "models",
            f"Equity on the holdout day, after costs, of {', '.join(names)} traded as strategies",
        )
    drawn = pl.all_horizontal(pl.col("promise", "promise_se", "low", "high").is_finite())  # an interval may have no end
    tests = data.forward.drift.filter(pl.col("decision") != _WAITS, drawn)
    if tests.height:
        drifting = tests.filter(pl.col("decision") == "drift").height
        found["drift"] = pictures.inline(
            pictures.drift_figure(tests.head(_MOST_TESTS)),
            "drift",
            f"By how much {min(tests.height, _MOST_TESTS)} results are worse than promised; {drifting} of "
            f"{tests.height} drift",
        )
    gains = data.cycles.models.filter(pl.col("log_loss_gain_low").is_not_null())
    if gains.height:
        better = gains.filter(pl.col("better").fill_null(value=False)).height
        found["gains"] = pictures.inline(
            pictures.gain_figure(gains),
            "gains",
            f"Gain over guessing of {gains.height} models with 90 % intervals; {better} are better at the 5 % level",
        )
    return found


def _changed(changes: dict[str, str]) -> str:
    return ", ".join(f"{name} {change}" for name, change in changes.items())


def _interval(row: Json) -> str:
    if row["log_loss_gain"] is None:
        return formats.NONE
    low, gain, high = (
        formats.number(row[key], 4) for key in ("log_loss_gain_low", "log_loss_gain", "log_loss_gain_high")
    )
    return f"{gain} ({low} to {high})"


def _plus_minus(value: float | None, error: float | None, digits: int) -> str:
    if value is None:
        return formats.NONE
    shown = formats.number(value, digits)
    return shown if error is None else f"{shown} ± {formats.number(error, digits)}"
