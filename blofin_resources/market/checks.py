"""Checks of candles: one pure function per check, each returning the rows that violate it.

Belongs here: judgements about frames of candles, the same for synthetic, archived and exchange bars. Does not belong
here: reading frames, deciding what a violation stops (the asset checks), repairing anything.

Unless stated otherwise, a function takes a frame with `CANDLE_SCHEMA` (any order, any number of symbols) and returns a
frame with `VIOLATION_SCHEMA`, sorted by (symbol, ts); an empty frame means that the check passed.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import polars as pl

from features.bars import MINUTES, TS, Timeframe, bar_length, ceil_time, floor_time

VIOLATION_SCHEMA: Final = pl.Schema({"symbol": pl.String(), "ts": TS, "detail": pl.String()})
"""`ts` opening time of the offending bar; `detail` says what is wrong with it, with the values."""

PRICES: Final = ("open", "high", "low", "close")
VOLUMES: Final = ("volume", "quote_volume", "contracts")


def ohlc_order(candles: pl.DataFrame) -> pl.DataFrame:
    """Return the bars whose high is not the highest or whose low is not the lowest of their four prices.

    Bars with a NaN or infinite price are left to `positive_prices`.

    Examples
    --------
    >>> from datetime import UTC
    >>> bar = {"symbol": "BTC-USDT", "ts": datetime(2025, 6, 1, tzinfo=UTC), "open": 10.0, "low": 9.0, "close": 10.0}
    >>> ohlc_order(pl.DataFrame([bar | {"high": 9.5}]))["detail"].item()
    'high or low inside the bar: open 10.0, high 9.5, low 9.0, close 10.0'
    """
    numbers = pl.all_horizontal(pl.col(name).is_finite() for name in PRICES)
    highest = pl.max_horizontal("open", "low", "close")
    lowest = pl.min_horizontal("open", "high", "close")
    wrong = numbers & ((pl.col("high") < highest) | (pl.col("low") > lowest))
    return _violations(
        candles.filter(wrong), pl.format("high or low inside the bar: open {}, high {}, low {}, close {}", *PRICES)
    )


def positive_prices(candles: pl.DataFrame) -> pl.DataFrame:
    """Return the bars with a price that is null, NaN, infinite, zero or negative.

    Examples
    --------
    >>> from datetime import UTC
    >>> bar = {"symbol": "BTC-USDT", "ts": datetime(2025, 6, 1, tzinfo=UTC), "open": 10.0, "high": 11.0, "low": 9.0}
    >>> positive_prices(pl.DataFrame([bar | {"close": 10.0}])).height
    0
    >>> positive_prices(pl.DataFrame([bar | {"close": 0.0}])).height
    1
    """
    wrong = pl.any_horizontal(~_sound(pl.col(name)) | (pl.col(name) <= 0) for name in PRICES)
    shown = [pl.col(name).cast(pl.String).fill_null("null") for name in PRICES]
    return _violations(
        candles.filter(wrong), pl.format("a price that is not positive: open {}, high {}, low {}, close {}", *shown)
    )


def sound_volumes(candles: pl.DataFrame) -> pl.DataFrame:
    """Return the bars with a volume that is NaN, infinite or negative; null means unknown and is sound."""
    wrong = pl.any_horizontal(
        pl.col(name).is_not_null() & (~_sound(pl.col(name)) | (pl.col(name) < 0)) for name in VOLUMES
    )
    shown = [pl.col(name).cast(pl.String).fill_null("null") for name in VOLUMES]
    return _violations(
        candles.filter(wrong), pl.format("an impossible volume: volume {}, quote_volume {}, contracts {}", *shown)
    )


def duplicates(candles: pl.DataFrame, rows: str = "bars") -> pl.DataFrame:
    """Return each (symbol, ts) that occurs more than once; `rows` names the rows in the text."""
    counted = candles.group_by("symbol", "ts").len().filter(pl.col("len") > 1)
    return _violations(counted, pl.format(f"{{}} {rows} of the same time", "len"))


def time_order(candles: pl.DataFrame) -> pl.DataFrame:
    """Return the bars that appear, in the frame's own order, after a later bar of their symbol."""
    before = pl.col("ts").shift(1)
    late = candles.with_columns(before=before.over("symbol")).filter(pl.col("ts") < pl.col("before"))
    return _violations(late, pl.format("comes after the bar of {}", pl.col("before").dt.strftime("%Y-%m-%dT%H:%MZ")))


def on_grid(candles: pl.DataFrame, timeframe: Timeframe) -> pl.DataFrame:
    """Return the bars whose opening time is not on the grid of their timeframe."""
    off = candles.filter(pl.col("ts") != pl.col("ts").dt.truncate(f"{MINUTES[timeframe]}m"))
    return _violations(off, pl.lit(f"not on the {timeframe} grid"))


def minutes_inside(candles: pl.DataFrame, timeframe: Timeframe) -> pl.DataFrame:
    """Return the bars built from no minutes, from too many, or from too few without a flag that says so."""
    full = MINUTES[timeframe]
    short = (pl.col("minutes") < full) & pl.col("flag").is_null()
    wrong = pl.col("minutes").is_null() | (pl.col("minutes") < 1) | (pl.col("minutes") > full) | short
    shown = pl.col("minutes").cast(pl.String).fill_null("null")
    return _violations(
        candles.filter(wrong), pl.format(f"made of {{}} minutes out of {full}, flag {{}}", shown, _flag())
    )


def single_prices(candles: pl.DataFrame) -> pl.DataFrame:
    """Return the unflagged bars that `flag_single_price` would flag."""
    return _violations(
        candles.filter(_made_of_one_price() & pl.col("flag").is_null()),
        pl.format("one price, {}, without known volume, and no flag", "open"),
    )


def flag_single_price(candles: pl.DataFrame) -> pl.DataFrame:
    """Add `single_price` to the flag of bars that no trade produced.

    A bar of one price whose volume is zero or unknown is a repeated close, not a market: no order could have been
    filled in it. A bar of one price *with* volume is a real bar of a quiet market and is not flagged.
    """
    made = candles.select(_made_of_one_price()).to_series()
    if not made.any():  # most pages and files: a flag is text, and to take it apart costs more than to look first
        return candles
    marked = pl.concat_str([pl.col("flag"), pl.lit("single_price")], separator=",", ignore_nulls=True)
    already = pl.col("flag").fill_null("").str.split(",").list.contains("single_price")
    return candles.with_columns(flag=pl.when(made & ~already).then(marked).otherwise("flag"))


def missing(
    candles: pl.DataFrame, timeframe: Timeframe, start: datetime, end: datetime, symbols: list[str] | None = None
) -> pl.DataFrame:
    """Return the runs of bars that are absent between `start` and `end`.

    Parameters
    ----------
    candles : DataFrame
        Bars of one timeframe.
    timeframe : Timeframe
        Their grid.
    start, end : datetime
        Every bar with `start <= ts` that is closed by `end` is expected (UTC).
    symbols : list of str, optional
        Symbols whose bars are expected; those in the frame where omitted. Pass them explicitly to detect a symbol
        without a single bar.

    Returns
    -------
    DataFrame
        `symbol`, `from_ts`, `to_ts` (opening times of the first bar absent and of the first one after it), `bars`
        (their number), sorted.

    Examples
    --------
    >>> from datetime import UTC
    >>> times = [datetime(2025, 6, 1, 0, minute, tzinfo=UTC) for minute in (0, 1, 4)]
    >>> candles = pl.DataFrame({"symbol": "BTC-USDT", "ts": pl.Series(times, dtype=TS)})
    >>> missing(candles, "1m", times[0], times[-1] + timedelta(minutes=1))["bars"].to_list()
    [2]
    """
    length = bar_length(timeframe)
    expected = symbols if symbols is not None else candles["symbol"].unique().sort().to_list()
    start = ceil_time(start, length)
    last = max(start, floor_time(end, length)) - length
    fences = pl.DataFrame(
        {"symbol": expected, "before": [start - length] * len(expected), "after": [last + length] * len(expected)},
        schema={"symbol": pl.String(), "before": TS, "after": TS},
    )
    inside = candles.filter(pl.col("ts").is_between(start, last)).select("symbol", "ts")
    lower = fences.select("symbol", ts="before")
    upper = fences.select("symbol", ts="after")
    marks = pl.concat([lower, inside.join(fences, on="symbol", how="semi"), upper]).unique().sort("symbol", "ts")
    step = pl.duration(minutes=MINUTES[timeframe])
    gaps = marks.with_columns(to_ts=pl.col("ts").shift(-1).over("symbol"), from_ts=pl.col("ts") + step)
    return (
        gaps.filter(pl.col("to_ts") > pl.col("from_ts"))
        .with_columns(bars=(pl.col("to_ts") - pl.col("from_ts")).dt.total_minutes() // MINUTES[timeframe])
        .select("symbol", "from_ts", "to_ts", pl.col("bars").cast(pl.Int64))
        .sort("symbol", "from_ts")
    )


def incomplete_days(
    candles: pl.DataFrame, timeframe: Timeframe, start: datetime, end: datetime, symbols: list[str] | None = None
) -> pl.DataFrame:
    """Return one violation per symbol and closed UTC day that lacks bars.

    Parameters
    ----------
    candles, timeframe, start, end, symbols
        As in `missing`.

    Returns
    -------
    DataFrame
        `VIOLATION_SCHEMA`; `ts` is midnight of the day.
    """
    length = bar_length(timeframe)
    day = pl.col("ts").dt.truncate("1d")
    gaps = missing(candles, timeframe, start, end, symbols)
    absent = (
        gaps.with_columns(ts=pl.datetime_ranges("from_ts", pl.col("to_ts") - length, interval=f"{MINUTES[timeframe]}m"))
        .explode("ts", empty_as_null=False)
        .group_by("symbol", day.alias("ts"))
        .len()
        .filter(pl.col("ts") + pl.duration(days=1) <= end)
    )
    return _violations(absent, pl.format(f"{{}} of the day's {1440 // MINUTES[timeframe]} bars are missing", "len"))


def jumps(candles: pl.DataFrame, factor: float = 25.0, floor: float = 0.02) -> pl.DataFrame:
    """Return isolated outliers: bars far from the bar before and the bar after, which agree with each other.

    A real move persists; a bad tick does not. A bar is a violation if its close differs from both neighbours' closes,
    in the same direction, by more than `factor` times the symbol's median absolute return and by more than `floor`.

    Parameters
    ----------
    candles : DataFrame
        Sorted by (symbol, ts). Bars without two neighbours in the frame are not judged.
    factor, floor : float
        Multiple of the median absolute log return, and a log return.

    Returns
    -------
    DataFrame
        `VIOLATION_SCHEMA`, one row per outlier.
    """
    log = pl.col("close").log()
    back = log - log.shift(1).over("symbol")
    ahead = log - log.shift(-1).over("symbol")
    usual = back.abs().median().over("symbol")
    size = pl.min_horizontal(back.abs(), ahead.abs())
    alone = (back.sign() == ahead.sign()) & (size > factor * usual) & (size > floor)
    found = candles.with_columns(size=size, alone=alone).filter("alone")
    return _violations(
        found, pl.format("close {} is {} % from both neighbours", "close", (pl.col("size") * 100).round(2))
    )


def stale(candles: pl.DataFrame, symbols: list[str], as_of: datetime, limit: timedelta) -> pl.DataFrame:
    """Return the symbols whose last bar closed more than `limit` before `as_of`.

    Parameters
    ----------
    candles : DataFrame
        Bars of any length; a bar closes `minutes` after `ts`.
    symbols : list of str
        Symbols that should be fresh.
    as_of : datetime
        Time of the check (UTC).
    limit : timedelta
        Largest accepted age of the last close.

    Returns
    -------
    DataFrame
        `VIOLATION_SCHEMA`, one row per stale symbol at its last bar; `ts` is null for a symbol without bars.
    """
    closes = pl.col("ts") + pl.duration(minutes=pl.col("minutes"))
    last = candles.group_by("symbol").agg(pl.col("ts").max(), closed=closes.max())
    wanted = pl.DataFrame({"symbol": symbols}, schema={"symbol": pl.String}).join(last, on="symbol", how="left")
    late = wanted.filter((pl.col("closed") < as_of - limit).fill_null(value=True))
    minutes = (pl.lit(as_of, TS) - pl.col("closed")).dt.total_minutes()
    age = pl.format("last bar closed {} minutes before the as-of", minutes)
    return _violations(late, pl.coalesce(age, pl.lit("no bar at all")))


def stale_days(
    candles: pl.DataFrame, symbols: list[str], start: datetime, end: datetime, limit: timedelta
) -> pl.DataFrame:
    """Return each UTC day between `start` and `end` whose last bar closed more than `limit` before the day ends.

    Parameters
    ----------
    candles : DataFrame
        Bars of any length; a bar closes `minutes` after `ts`.
    symbols : list of str
        Symbols to check.
    start, end : datetime
        Range to check (UTC); the last day ends at `end`.
    limit : timedelta
        Largest accepted distance between the last close and the end of the day.

    Returns
    -------
    DataFrame
        `VIOLATION_SCHEMA`; `ts` is midnight of the day. A day without any bar is missing, not stale, and not included.
    """
    closes = pl.col("ts") + pl.duration(minutes=pl.col("minutes"))
    inside = candles.filter(pl.col("ts").is_between(start, end, closed="left"), pl.col("symbol").is_in(symbols))
    last = inside.group_by("symbol", pl.col("ts").dt.truncate("1d")).agg(closed=closes.max())
    due = pl.min_horizontal(pl.col("ts").dt.offset_by("1d"), pl.lit(end, TS))
    late = last.with_columns(behind=due - pl.col("closed")).filter(pl.col("behind") > limit)
    return _violations(late, pl.format("the last bar closed {} minutes before", pl.col("behind").dt.total_minutes()))


def agreement(minutes: pl.DataFrame, candles: pl.DataFrame, timeframe: Timeframe) -> pl.DataFrame:
    """Return the longer bars that differ from those resampled from shorter ones, or exist on one side only.

    Parameters
    ----------
    minutes : DataFrame
        1-minute or other shorter bars with `CANDLE_SCHEMA` of whole periods.
    candles : DataFrame
        Bars of `timeframe` over the same range.
    timeframe : Timeframe
        Their length. Prices must be equal, volumes equal up to rounding.

    Returns
    -------
    DataFrame
        `VIOLATION_SCHEMA`, one row per differing bar.
    """
    sums = [pl.when(pl.col(name).null_count() == 0).then(pl.col(name).sum()).alias(name) for name in VOLUMES]
    made = (
        minutes.sort("symbol", "ts")
        .group_by("symbol", pl.col("ts").dt.truncate(f"{MINUTES[timeframe]}m"), maintain_order=True)
        .agg(
            pl.col("open").first(),
            pl.col("high").max(),
            pl.col("low").min(),
            pl.col("close").last(),
            pl.col("minutes").sum().cast(pl.Int32),
            *sums,
        )
    )
    both = candles.join(made, on=["symbol", "ts"], how="full", suffix="_made", coalesce=True)
    exact = [pl.col(name).ne_missing(pl.col(f"{name}_made")).alias(name) for name in (*PRICES, "minutes")]
    close = [_differs(name).alias(name) for name in VOLUMES]
    differing = both.with_columns(
        names=pl.concat_str(
            [pl.when(rule).then(pl.lit(rule.meta.output_name())) for rule in (*exact, *close)],
            separator=", ",
            ignore_nulls=True,
        )
    )
    return _violations(
        differing.filter(pl.col("names") != ""), pl.format("differs from its shorter bars in: {}", "names")
    )


_SOUND: Final[dict[str, Callable[[pl.DataFrame], pl.DataFrame]]] = {
    "positive_prices": positive_prices,
    "ohlc_order": ohlc_order,
    "sound_volumes": sound_volumes,
    "duplicates": duplicates,
    "time_order": time_order,
    "single_prices": single_prices,
}


def unsound(candles: pl.DataFrame, timeframe: Timeframe) -> dict[str, pl.DataFrame]:
    """Return, by name of the check, the bars that cannot be real; nothing may be computed from them."""
    found = {name: check(candles) for name, check in _SOUND.items()}
    found["on_grid"] = on_grid(candles, timeframe)
    found["minutes_inside"] = minutes_inside(candles, timeframe)
    return {name: frame for name, frame in found.items() if not frame.is_empty()}


def _sound(value: pl.Expr) -> pl.Expr:
    return value.is_finite().fill_null(value=False)


def _differs(name: str) -> pl.Expr:
    """Return whether a volume differs from the resampled sum beyond rounding."""
    given, made = pl.col(name), pl.col(f"{name}_made")
    apart = ((given - made).abs() > 1e-9 * made.abs() + 1e-12).fill_null(value=False)
    return apart | (given.is_null() != made.is_null())


def _flag() -> pl.Expr:
    return pl.col("flag").fill_null("none")


def _made_of_one_price() -> pl.Expr:
    no_volume = (pl.col("volume").fill_null(0.0) == 0.0) & (pl.col("contracts").fill_null(0.0) == 0.0)
    return (pl.col("high") == pl.col("low")) & no_volume


def _violations(rows: pl.DataFrame, detail: pl.Expr) -> pl.DataFrame:
    return (
        rows.select("symbol", "ts", detail.cast(pl.String).alias("detail")).cast(VIOLATION_SCHEMA).sort("symbol", "ts")
    )
