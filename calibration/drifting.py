"""An archive whose planted edge reverses on a day: what the platform's drift checks are there to find.

Belongs here: prices with a planted edge. Does not belong here: anything that searches for it.

The prices are those of `sample:null`, which hold nothing to find, with one effect laid over them: after a move of
`WINDOW` minutes beyond `THRESHOLD` standard deviations, a drift against it, of `SIZE` over the next `SPREAD` minutes;
from the given day on, a drift with it, of the same size.
"""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from blofin_resources.market.sample.market import SampleMarket

WINDOW: Final = 30
THRESHOLD: Final = 2.0
SIZE: Final = 0.0045
"""Less than `THRESHOLD` in half an hour, or the way back would count as a move of its own."""
SPREAD: Final = 60
TRAILING: Final = 720
"""Minutes over which the standard deviation of a minute is taken, about zero."""

FADE: Final = '''class FadeTheMove(Strategy):
    """Fade every move of half an hour beyond two standard deviations for an hour.

    Edge: such moves come back.
    Fails: on the day on which they go on.
    """

    name = "fade_the_move"
    timeframes = ("1m",)
    beyond = Param(2.0, 1.5, 3.0)

    def detect(self, f):
        move = f.log_returns_30 / (30 * f.realized_volatility_720 ** 2) ** 0.5
        fell = move < -self.beyond
        rose = move > self.beyond
        return Signal(
            long_entry=fell & ~previous(happened(rose, 60)),
            short_entry=rose & ~previous(happened(fell, 60)),
            time_stop=60,
        )
'''
"""The strategy that earns the effect."""


def drifting_archive(
    folder: Path, symbols: tuple[str, ...], start: datetime, end: datetime, reverses: datetime, seed: int
) -> Path:
    """Write an archive of 1-minute bars and funding with a planted effect.

    Parameters
    ----------
    folder : Path
        Where the archive is written.
    symbols : tuple of str
        Which instruments.
    start, end : datetime
        Bars lie in [start, end), UTC.
    reverses : datetime
        When the effect reverses.
    seed : int
        Of the market.

    Returns
    -------
    Path
        The folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    market = SampleMarket(seed, "null", clock=lambda: end + timedelta(minutes=1))
    for symbol in symbols:
        bars = drifting_candles(market, symbol, start, end, reverses)
        bars.select("ts", "open", "high", "low", "close", "volume").write_parquet(folder / f"{symbol}_1m.parquet")
        funding = market.funding([symbol], start, end).select("ts", "rate")
        funding.write_parquet(folder / f"{symbol}_funding.parquet")
    return folder


def drifting_candles(
    market: SampleMarket, symbol: str, start: datetime, end: datetime, reverses: datetime
) -> pl.DataFrame:
    """Return a market's 1-minute bars with a planted effect.

    Parameters
    ----------
    market : SampleMarket
        Without an effect.
    symbol : str
        Which instrument.
    start, end : datetime
        Bars lie in [start, end), UTC.
    reverses : datetime
        When the effect reverses.

    Returns
    -------
    DataFrame
        Columns of the market's candles.
    """
    candles = market.candles([symbol], "1m", start, end).sort("ts")
    times = candles["ts"].to_numpy()
    side = np.where(times < np.datetime64(reverses.replace(tzinfo=None), "us"), -1.0, 1.0)
    return shifted(candles, planted(np.log(candles["close"].to_numpy()), side))


def shuffled(candles: pl.DataFrame, since: datetime, seed: int) -> pl.DataFrame:
    """Return one symbol's bars with the hours of each day shuffled from `since` on; volatility becomes unpredictable.

    Each bar keeps its shape and its volume; prices continue from the bar before.

    Parameters
    ----------
    candles : DataFrame
        1-minute bars of whole days.
    since : datetime
        First day that is shuffled.
    seed : int
        Of the permutations.

    Returns
    -------
    DataFrame
        The same columns.
    """
    rng = np.random.default_rng(seed)
    frame = candles.sort("ts")
    first = int((frame["ts"] < since).sum())
    days = np.arange(first, frame.height).reshape(-1, 24, 60)
    order = np.concatenate([np.arange(first), *(day[rng.permutation(24)].ravel() for day in days)])
    close = frame["close"].to_numpy()
    before = np.concatenate([frame["open"].to_numpy()[:1], close[:-1]])
    shapes = {name: (frame[name].to_numpy() / before)[order] for name in ("open", "high", "low", "close")}
    level = before[0] * np.concatenate([[1.0], np.cumprod(shapes["close"])[:-1]])
    prices = pl.DataFrame({name: shape * level for name, shape in shapes.items()})
    moved = frame.select(pl.exclude("symbol", "ts", *shapes))[order]
    return pl.concat([frame.select("symbol", "ts"), prices, moved], how="horizontal").select(candles.columns)


def planted(log_close: np.ndarray, side: np.ndarray) -> np.ndarray:
    """Return the cumulated drift at each minute's close, in log price.

    Parameters
    ----------
    log_close : ndarray, shape (n,)
        Closes without the effect.
    side : ndarray, shape (n,)
        -1 where the drift goes against the move, 1 where it goes with it.
    """
    shift = np.zeros(log_close.size)
    returns = np.diff(log_close, prepend=log_close[0])
    squares = np.zeros(log_close.size)
    total, left, step, sum_of_squares = 0.0, 0, 0.0, 0.0
    for t in range(1, log_close.size):
        moved = step if left else 0.0
        total, left = total + moved, max(left - 1, 0)
        shift[t] = total
        squares[t] = (returns[t] + moved) ** 2
        sum_of_squares += squares[t] - (squares[t - TRAILING] if t >= TRAILING else 0.0)
        if t > TRAILING and not left:
            move = log_close[t] + shift[t] - log_close[t - WINDOW] - shift[t - WINDOW]
            if abs(move) > THRESHOLD * np.sqrt(WINDOW * sum_of_squares / TRAILING):
                left, step = SPREAD, side[t] * np.sign(move) * SIZE / SPREAD
    return shift


def shifted(candles: pl.DataFrame, shift: np.ndarray) -> pl.DataFrame:
    """Return candles with the drift in them: each bar opens with the drift of the bar before."""
    before = np.exp(np.concatenate([[0.0], shift[:-1]]))
    after = np.exp(shift)
    return candles.with_columns(
        (pl.col("open") * before).alias("open"),
        (pl.col("close") * after).alias("close"),
        (pl.col("high") * np.maximum(before, after)).alias("high"),
        (pl.col("low") * np.minimum(before, after)).alias("low"),
    ).with_columns(
        pl.max_horizontal("open", "high", "low", "close").alias("high"),
        pl.min_horizontal("open", "high", "low", "close").alias("low"),
    )
