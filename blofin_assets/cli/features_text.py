"""The tear sheet of a feature, and those of a group, as tables and sentences.

Belongs here: text of results. Does not belong here: arguments and running (`blofin_assets.cli.features`), the page
(`backtester.feature_page`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl
from rich import box
from rich.console import Console
from rich.table import Table
from scipy.stats import norm

from backtester.evaluation.feature_sheet import FeatureSheet

SURE: Final = 0.05
"""Chance that the largest of all |t| looked at is above what is needed, if no feature says anything."""
_TOLD: Final = (0.01, 0.25, 0.5, 0.75, 0.99)
"""Quantiles of the values in the terminal."""
SHOWN: Final = 5
"""Best and worst symbols, and features most alike, in the terminal."""


@dataclass(frozen=True)
class Looked:
    """How much was looked at.

    Attributes
    ----------
    looks : int
        Configurations that the ledger knows of on these days, whenever and whatever they were.
    now : int
        Of this run.
    """

    looks: int
    now: int

    @property
    def needed(self) -> float:
        """|t| above which the largest of so many is not luck (Bonferroni's bound, two-sided)."""
        return float(norm.isf(SURE / 2.0 / max(self.looks, 1)))


def said_of_feature(sheet: FeatureSheet, looked: Looked) -> list[str]:
    """Return what a tear sheet says, a sentence each."""
    across = f"between symbols at each bar, averaged over time; {sheet.quantiles} groups by value"
    in_time = "in time, averaged over symbols; the groups' bounds are those of the whole window, known at its end alone"
    how = f"Information coefficient: rank correlation {across if sheet.across else in_time}."
    return [how, *_verdict([sheet], looked)]


def said_of_group(sheets: Sequence[FeatureSheet], looked: Looked) -> list[str]:
    """Return what the tear sheets of a group say, a sentence each."""
    across = sum(sheet.across for sheet in sheets)
    how = (
        f"Rank correlation between symbols at each bar for {across} of {len(sheets)} features, in time for the others."
    )
    return [how, *_verdict(sheets, looked)]


def _verdict(sheets: Sequence[FeatureSheet], looked: Looked) -> list[str]:
    rows = [(sheet.name, row) for sheet in sheets if (row := sheet.strongest) is not None]
    count = f"{looked.looks:,} looks at these days, {looked.now} of them now (each feature and horizon is a trial)"
    if not rows:
        return [f"No coefficient has an error: the window is too short. {count}."]
    name, best = max(rows, key=lambda pair: abs(pair[1]["t"]))
    enough = abs(best["t"]) > looked.needed
    verdict = "more than luck shows" if enough else "no more than luck shows"
    at = f"{best['ic']:+.4f} ± {best['ic_se']:.4f}, t = {best['t']:+.1f}"
    lines = [
        f"Largest |t|: {name} over {best['horizon']} bars, coefficient {at}.",
        f"After {count}, {looked.needed:.1f} is needed: {verdict}.",
    ]
    nets = [
        (row["net_t"], sheet.name, row)
        for sheet in sheets
        for row in sheet.horizons.iter_rows(named=True)
        if row["net_t"] is not None
    ]
    if nets:
        t, who, row = max(nets, key=lambda each: each[0])
        lines.append(
            f"Best book net of costs: {who} over {row['horizon']} bars, long the {row['long']} end, "
            f"{row['net_pct']:+.3f} ± {row['net_se']:.3f} % a day (t = {t:+.1f}); its side was chosen on this window."
        )
    return lines


def show_feature(out: Console, title: str, window: str, sheet: FeatureSheet, like: pl.DataFrame) -> None:
    """Print the tear sheet of one feature.

    Parameters
    ----------
    out : Console
        Where it is printed.
    title : str
        Of the feature.
    window : str
        What was run on.
    sheet : FeatureSheet
        What was measured.
    like : DataFrame
        `name`, `correlation` with the standard set.
    """
    out.print(title, style="bold", markup=False, highlight=False)
    out.print(window, markup=False, highlight=False, soft_wrap=True)
    levels = dict(sheet.distribution.iter_rows())
    marks = ", ".join(f"{level:.0%} {levels[level]:.4g}" for level in _TOLD)
    lags = ", ".join(f"{row['lag']}: {row['mean']:.2f}" for row in sheet.autocorrelation.iter_rows(named=True))
    for line in (
        f"known on {sheet.coverage:.1%} of bars; mean {sheet.mean:.4g}, standard deviation {sheet.deviation:.4g}",
        f"quantiles: {marks}",
        f"autocorrelation by lag in bars: {lags or 'unknown'}",
    ):
        out.print(line, markup=False, highlight=False)
    out.print(_horizons(sheet))
    out.print(_quarters(sheet))
    if sheet.symbols.height > 1:
        out.print(_symbols(sheet))
    near = ", ".join(
        f"{row['name']} {row['correlation']:+.2f}"
        for row in like.head(SHOWN).iter_rows(named=True)
        if row["correlation"] is not None
    )
    out.print(f"most alike in the standard set: {near or 'none'}", markup=False, highlight=False)


def show_group(out: Console, title: str, window: str, sheets: Sequence[FeatureSheet]) -> None:
    """Print the tear sheets of a group: a line for each feature.

    Parameters
    ----------
    out : Console
        Where it is printed.
    title : str
        Of the group.
    window : str
        What was run on.
    sheets : sequence of FeatureSheet
        In the order of the group.
    """
    main = sheets[0].main
    out.print(f"{title}: {len(sheets)} features, over {main} bars", style="bold", markup=False, highlight=False)
    out.print(window, markup=False, highlight=False, soft_wrap=True)
    table = _table("feature", "known", "IC", "± SE", "t", "long", "net %", "± SE", "turns", close=True)
    for sheet in sheets:
        row = sheet.horizons.filter(pl.col("horizon") == main).row(0, named=True)
        table.add_row(
            sheet.name if sheet.across else f"{sheet.name} (time)",
            f"{100.0 * sheet.coverage:.0f}",
            *_cells(row, (("ic", "+.4f"), ("ic_se", ".4f"), ("t", "+.1f"))),
            row["long"],
            *_cells(row, (("net_pct", "+.3f"), ("net_se", ".3f"), ("turnover", ".2f"))),
        )
    out.print(table)


def _horizons(sheet: FeatureSheet) -> Table:
    table = _table(
        "bars", "IC", "± SE", "t", "long", "gross %", "funding", "costs", "net %", "± SE", "turns", close=True
    )
    for row in sheet.horizons.iter_rows(named=True):
        table.add_row(
            str(row["horizon"]),
            *_cells(row, (("ic", "+.4f"), ("ic_se", ".4f"), ("t", "+.1f"))),
            row["long"],
            *_cells(
                row,
                (
                    ("gross_pct", "+.3f"), ("funding_pct", "+.3f"), ("costs_pct", ".3f"), ("net_pct", "+.3f"),
                    ("net_se", ".3f"), ("turnover", ".2f"),
                ),
            ),
        )  # fmt: skip
    table.caption = "book long one end, short the other: % of a leg and turns a day"
    return table


def _quarters(sheet: FeatureSheet) -> Table:
    table = _table(f"over {sheet.main} bars", "known %", "IC", "± SE", "gross %", "net %")
    for row in sheet.quarters.iter_rows(named=True):
        forms = (("ic", "+.4f"), ("ic_se", ".4f"), ("gross_pct", "+.3f"), ("net_pct", "+.3f"))
        table.add_row(row["period"], f"{100.0 * row['coverage']:.0f}", *_cells(row, forms))
    return table


def _symbols(sheet: FeatureSheet) -> Table:
    known = sheet.symbols.sort("ic", descending=True, nulls_last=True)
    shown = known if known.height <= 2 * SHOWN else pl.concat([known.head(SHOWN), known.tail(SHOWN)])
    table = _table("symbol, in time", "known %", "mean", "deviation", "IC", "± SE")
    for place, row in enumerate(shown.iter_rows(named=True)):
        if shown.height < known.height and place == SHOWN:
            table.add_section()
        forms = (("mean", ".4g"), ("deviation", ".4g"), ("ic", "+.4f"), ("ic_se", ".4f"))
        table.add_row(row["symbol"], f"{100.0 * row['coverage']:.0f}", *_cells(row, forms))
    return table


def _cells(row: dict[str, float], forms: Sequence[tuple[str, str]]) -> list[str]:
    return ["–" if row[name] is None else format(row[name], form) for name, form in forms]


def _table(first: str, *others: str, close: bool = False) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0 if close else 1, 0, 0), caption_justify="left")
    table.add_column(first, no_wrap=True)
    for heading in others:
        table.add_column(heading, justify="right", no_wrap=True)
    return table
