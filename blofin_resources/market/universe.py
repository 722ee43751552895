"""The universe: which symbols are in it on each day, decided from the days that had closed.

Belongs here: the rule and its text, membership as a pure function of daily bars. Does not belong here: fetching bars
(`deep`), storing (the assets).

Causal: the rows of a day depend on bars that closed before it alone, so they are the same whatever is imported later.
"""

import re
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import polars as pl

WINDOW: Final = 30
"""Closed days over which volume is compared, and for which a member has been listed at least."""

OFF: Final = "off"
_TOP: Final = re.compile(r"top:([1-9][0-9]{0,3})")
_SYMBOL: Final = re.compile(r"[A-Z0-9]+-[A-Z0-9]+")

UNIVERSE_SCHEMA: Final = pl.Schema(
    {
        "day": pl.Date(),
        "symbol": pl.String(),
        "rank": pl.Int32(),
        "member": pl.Boolean(),
        "reason": pl.String(),
        "quote_volume": pl.Float64(),
    }
)
"""Sorted by (day, symbol): each symbol that had a bar in the `WINDOW` days before the day."""


@dataclass(frozen=True)
class Rule:
    """How members are chosen.

    Attributes
    ----------
    top
        The number of symbols with the largest volume; None for all, or for a list.
    chosen
        Symbols written by hand; empty otherwise.
    """

    top: int | None
    chosen: tuple[str, ...] = ()


def parse_rule(text: str) -> Rule | None:
    """Return the rule that `BLOFIN_UNIVERSE` states; None where it is off.

    Raises
    ------
    ValueError
        If it is neither `top:N`, `all`, `off` nor symbols joined by commas.

    Examples
    --------
    >>> parse_rule("top:30").top
    30
    >>> parse_rule("BTC-USDT, ETH-USDT").chosen
    ('BTC-USDT', 'ETH-USDT')
    """
    cleaned = text.strip()
    if cleaned.lower() == OFF:
        return None
    if cleaned.lower() == "all":
        return Rule(None)
    top = _TOP.fullmatch(cleaned.lower())
    if top:
        return Rule(int(top[1]))
    names = tuple(dict.fromkeys(name.strip().upper() for name in cleaned.split(",") if name.strip()))
    if not names or not all(_SYMBOL.fullmatch(name) for name in names):
        msg = "neither top:N, all, off nor symbols"
        raise ValueError(msg)
    return Rule(None, names)


def membership(daily: pl.DataFrame, begun: pl.DataFrame, rule: Rule, first: date, last: date) -> pl.DataFrame:
    """Return the universe of each day from `first` to `last`, both included.

    On each day the symbols are ranked by their median quote volume over the `WINDOW` closed days before, in which a day
    without a bar counts as zero. Eligible is who has been listed for `WINDOW` days at the day's beginning and has a bar
    on the last closed day on which any symbol has one. Equal volumes rank by name.

    Parameters
    ----------
    daily : DataFrame
        Columns symbol, ts (midnight of a closed day) and quote_volume, from `WINDOW` days before `first` on; later bars
        are not read. Null volumes count as zero.
    begun : DataFrame
        Columns symbol and listed (when trading began), one row per symbol.
    rule : Rule
        Who is chosen among the eligible.
    first, last : date
        Days (UTC).

    Returns
    -------
    DataFrame
        `UNIVERSE_SCHEMA`.
    """
    bars = daily.select("symbol", day=pl.col("ts").dt.date(), volume=pl.col("quote_volume").fill_null(0.0))
    bars = bars.filter(pl.col("day") < last, pl.col("day") >= first - timedelta(days=WINDOW))
    days = pl.DataFrame({"day": pl.date_range(first - timedelta(days=WINDOW), last, eager=True)})
    traded = bars.select("day").unique().sort("day").select("day", market="day")
    # the last closed day on which any symbol has a bar
    latest = days.select(asked=pl.col("day") - pl.duration(days=1), day="day").join_asof(
        traded, left_on="asked", right_on="day", strategy="backward"
    )
    grid = bars.select("symbol").unique().join(days, how="cross").sort("symbol", "day")
    filled = grid.join(bars, on=["symbol", "day"], how="left").sort("symbol", "day")
    before = pl.col("volume").fill_null(0.0).shift(1)
    seen = (
        filled.with_columns(
            quote_volume=before.rolling_median(WINDOW).over("symbol"),
            recent=pl.col("volume").is_not_null().cast(pl.Int32).shift(1).rolling_sum(WINDOW).over("symbol"),
            last_bar=pl.when(pl.col("volume").is_not_null()).then("day").forward_fill().shift(1).over("symbol"),
        )
        .filter(pl.col("day") >= first, pl.col("recent") > 0)
        .join(latest.select("day", "market"), on="day", how="left")
        .join(begun.select("symbol", "listed"), on="symbol", how="left")
    )
    midnight = pl.col("day").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    old = (pl.col("listed") + pl.duration(days=WINDOW) <= midnight).fill_null(value=False)
    judged = seen.with_columns(
        why=pl.when(pl.col("last_bar") != pl.col("market"))
        .then(pl.lit("not_traded"))
        .when(~old)
        .then(pl.lit("too_new"))
    ).with_columns(quote_volume=pl.when(pl.col("why").is_null()).then("quote_volume"))
    ranked = (
        judged.sort("day", "quote_volume", "symbol", descending=[False, True, False], nulls_last=True)
        .with_columns(place=pl.int_range(1, pl.len() + 1, dtype=pl.Int32).over("day"))
        .with_columns(rank=pl.when(pl.col("why").is_null()).then("place"))
    )
    member, taken, left = _choice(rule)
    return (
        ranked.with_columns(member=pl.col("why").is_null() & member)
        .with_columns(reason=pl.coalesce("why", pl.when("member").then(pl.lit(taken)).otherwise(pl.lit(left))))
        .select(UNIVERSE_SCHEMA.names())
        .cast(UNIVERSE_SCHEMA)
        .sort("day", "symbol")
    )


def _choice(rule: Rule) -> tuple[pl.Expr, str, str]:
    """Return who is a member among the eligible, and the reasons of members and of the others."""
    if rule.chosen:
        return pl.col("symbol").is_in(rule.chosen), "chosen_today", "not_chosen"
    if rule.top is None:
        return pl.lit(value=True), "all", "all"
    return pl.col("rank") <= rule.top, "top", "below_top"


def listed_since(listings: pl.DataFrame, first_bars: pl.DataFrame) -> pl.DataFrame:
    """Return since when each symbol is known to have been traded.

    That is its listing time where the first daily bar holds it, else the opening of that bar: a listing time that a
    relisting has moved, or that lies before the stored history, says nothing of the bars.

    Parameters
    ----------
    listings : DataFrame
        `LISTING_SCHEMA`.
    first_bars : DataFrame
        Columns symbol and first (opening time of its first daily bar).

    Returns
    -------
    DataFrame
        Columns symbol and listed.
    """
    joined = first_bars.join(listings.select("symbol", "list_time"), on="symbol", how="left")
    inside = pl.col("list_time").is_between("first", pl.col("first") + pl.duration(days=1), closed="left")
    return joined.select("symbol", listed=pl.when(inside).then("list_time").otherwise("first"))
