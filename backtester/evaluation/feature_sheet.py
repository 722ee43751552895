"""The tear sheet of a feature: what its values are, and what they say about the returns that come after them.

Belongs here: forward returns, and everything that is measured against them. Does not belong here: features
(`features`), which never see such returns; correlations and their errors (`backtester.statistics.information`); reading
from a store; drawing (`backtester.feature_page`).

Forward returns look ahead by design: row t holds what came after the close of bar t. Nothing of this module may feed a
feature, a strategy or a model; labels of models have rules of their own (`model_zoo.datasets`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np
import polars as pl

from backtester.evaluation.breakdown import quarter_parts
from backtester.simulation.bar_arrays import micros_of
from backtester.simulation.book_market import BookMarket
from backtester.simulation.costs import Costs
from backtester.statistics.information import (
    FEWEST_SYMBOLS,
    Estimate,
    autocorrelations,
    correlation_in_time,
    estimate,
    quantile_shares,
    rank_correlations,
)
from features.array_types import BoolArray, FloatArray
from features.bars import MINUTES

HORIZONS: Final = (1, 4, 12, 24, 72, 168)
"""Bars over which forward returns look."""
MAIN_HORIZON: Final = 24
"""The horizon by symbol and quarter; the longest below it in a short window. Not the best: that would be a choice."""
FEWEST_HORIZONS: Final = 10
"""A window holds at least so many times a horizon that is measured."""
LAGS: Final = (1, 2, 4, 12, 24, 72, 168)
"""Of the autocorrelation, in bars."""
QUANTILES: Final = 5
"""Groups by value; fewer where there are less than twice as many symbols."""
LEVELS: Final = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
"""Quantiles of the distribution."""
BINS: Final = 40
SAMPLED: Final = 15_000
"""Values of each feature from which correlations between features are measured, at equally spaced times."""
SAMPLED_SYMBOLS: Final = 12
"""Symbols on which they are: computing the whole standard set of all would take most of the time of a tear sheet."""
_DAY: Final = timedelta(days=1)
_CHANGES: Final = 1e-12


class ForwardReturns(NamedTuple):
    """What holding each symbol earned after each bar. Looks ahead by design.

    Attributes
    ----------
    price, funding : ndarray of shape (n_bars, n_symbols)
        Change of the price, and funding paid, as fractions of the price at entry. NaN where the next bar cannot be
        traded, or the window ends before the horizon does.
    """

    price: FloatArray
    funding: FloatArray

    @property
    def total(self) -> FloatArray:
        """Price less funding, shape (n_bars, n_symbols): what a long position earned before fees and slippage."""
        return self.price - self.funding


def forward_returns(market: BookMarket, horizon: int) -> ForwardReturns:
    """Return what holding each symbol for `horizon` bars earned, from the open after each bar. Looks ahead by design.

    Parameters
    ----------
    market : BookMarket
        Prices and payments.
    horizon : int
        Bars.

    Returns
    -------
    ForwardReturns
        Row t: entered at the open of bar t + 1, left at the open of bar t + 1 + horizon, as a signal at the close of
        bar t can be. Where that bar is missing (as after a delisting), left at the last close before it.
    """
    shape = market.open.shape
    price, funding = np.full(shape, np.nan), np.full(shape, np.nan)
    count = len(market.ts) - 1 - horizon
    if count > 0:
        opens, marks = market.open, market.mark
        entry = opens[1 : 1 + count]
        leave = np.where(np.isnan(opens[1 + horizon :]), marks[horizon:-1], opens[1 + horizon :])
        at = np.where(np.isnan(opens), np.vstack([marks[:1], marks[:-1]]), opens)
        paid = np.cumsum(np.nan_to_num(market.funding * at), axis=0)
        price[:count] = leave / entry - 1.0
        funding[:count] = (paid[1 + horizon :] - paid[1 : 1 + count]) / entry
        funding[np.isnan(price)] = np.nan
    return ForwardReturns(price, funding)


@dataclass(frozen=True, eq=False)
class FeatureSheet:
    """What a feature's values are, and what they say about later returns.

    Attributes
    ----------
    name : str
        The feature.
    across : bool
        Whether it is measured between symbols at each bar; otherwise in time, symbol by symbol.
    quantiles : int
        Groups by value.
    coverage : float
        Share of the tradable bars of members on which it is known.
    mean, deviation, zeros : float
        Of the known values; `zeros` is the share of those that are 0.
    distribution : DataFrame
        `quantile` (one of `LEVELS`), `value`.
    histogram : tuple of two ndarray, of shape (BINS,) and (BINS + 1,)
        Counts, and edges from the first to the 99th percentile.
    autocorrelation : DataFrame
        `lag` (bars), `mean`, `low`, `high` over the symbols.
    horizons : DataFrame
        `horizon` (bars), the information coefficient `ic` with `ic_se`, `t`, `times` and `positive` (share of times
        above zero; null in time); `long`, the end of the values that the quantile book holds (`high` or `low`),
        whichever earned more before fees in this window; and of that book, in percent of one leg a day: `gross_pct`
        (price), `funding_pct` (paid), `costs_pct` (fees and slippage), `net_pct`, `net_se`, `net_t`, and `turnover`
        (times of one leg a day, both legs together).
    groups : DataFrame
        `horizon`, `quantile` (1 is the lowest), `day_pct`: what holding each group earned less the mean of all,
        percent a day before fees.
    main : int
        The horizon of the next two.
    symbols : DataFrame
        `symbol`, `coverage`, `mean`, `deviation`, `ic` (in time), `ic_se`.
    quarters : DataFrame
        `period`, `coverage`, `ic`, `ic_se`, `gross_pct` and `net_pct` of the same book; those with a bar to trade.
    """

    name: str
    across: bool
    quantiles: int
    coverage: float
    mean: float
    deviation: float
    zeros: float
    distribution: pl.DataFrame
    histogram: tuple[FloatArray, FloatArray]
    autocorrelation: pl.DataFrame
    horizons: pl.DataFrame
    groups: pl.DataFrame
    main: int
    symbols: pl.DataFrame
    quarters: pl.DataFrame

    @property
    def strongest(self) -> dict[str, float] | None:
        """The row of `horizons` with the largest |t|; None without one."""
        known = self.horizons.filter(pl.col("t").is_not_null()).sort(pl.col("t").abs(), descending=True)
        return known.row(0, named=True) if known.height else None


def horizons_in(bars: int) -> tuple[int, ...]:
    """Return the `HORIZONS` that a window of so many bars has room for, at least the shortest."""
    return tuple(each for each in HORIZONS if each * FEWEST_HORIZONS <= bars) or HORIZONS[:1]


def feature_sheet(
    name: str, values: FloatArray, market: BookMarket, forward: Mapping[int, ForwardReturns], costs: Costs | None = None
) -> FeatureSheet:
    """Measure a feature. Its forward returns look ahead by design.

    Parameters
    ----------
    name : str
        The feature.
    values : ndarray of shape (n_bars, n_symbols)
        Known at each bar's close; NaN where unknown.
    market : BookMarket
        The bars. Values of symbols that are no members at a bar do not count.
    forward : mapping of int to ForwardReturns
        By horizon: `forward_returns` of this market, which several features share.
    costs : Costs, optional
        Taker fee and slippage of the quantile book; those of `Costs` where omitted.

    Returns
    -------
    FeatureSheet
        The same for the same input.

    Raises
    ------
    ValueError
        If no value is known.

    Notes
    -----
    *Between symbols* where some bar has values that differ between its members; otherwise, as of a single symbol or an
    hour of the day, *in time*. There the bounds of the quantiles are those of the whole window, known at its end alone.

    The quantile book is long one end and short the other, equal weights, one unit of capital a leg. It is formed anew
    at each bar and held for the horizon, a part of it for each bar of the horizon; what it trades is the change against
    the part that ends then.
    """
    there = market.fillable & market.member
    known = np.where(there, values, np.nan)
    given = known[~np.isnan(known)]
    if not len(given):
        msg = f"{name} is known on no bar: the data that it reads are not there, or its window is longer than the data"
        raise ValueError(msg)
    fewest = min(FEWEST_SYMBOLS, max(2, known.shape[1]))
    across = known.shape[1] > 1 and bool((_spread(known) & ((~np.isnan(known)).sum(axis=1) >= fewest)).any())
    quantiles = min(QUANTILES, max(2, known.shape[1] // 2)) if across else QUANTILES
    bars_a_day = _DAY / timedelta(minutes=MINUTES[market.timeframe])
    measured = _Measured(known, across, fewest, quantiles, costs or Costs(), bars_a_day)
    rows, groups, books = [], [], {}
    for horizon, returns in forward.items():
        books[horizon] = measured.book(returns, horizon)
        rows.append({"horizon": horizon, **measured.information(returns, horizon), **books[horizon].row(horizon)})
        groups += [
            {"horizon": horizon, "quantile": place + 1, "day_pct": earned}
            for place, earned in enumerate(measured.earned(returns, horizon))
        ]
    main = max((each for each in forward if each <= MAIN_HORIZON), default=min(forward))
    low, high = np.quantile(given, (0.01, 0.99))
    counts, edges = np.histogram(given, bins=BINS, range=(low, high) if low < high else None)
    return FeatureSheet(
        name,
        across,
        quantiles,
        coverage=len(given) / int(there.sum()),
        mean=float(given.mean()),
        deviation=float(given.std()),
        zeros=float((given == 0.0).mean()),
        distribution=pl.DataFrame({"quantile": LEVELS, "value": np.quantile(given, LEVELS)}),
        histogram=(counts.astype(np.float64), edges),
        autocorrelation=_autocorrelation(known),
        horizons=pl.DataFrame(rows, schema=_HORIZON_SCHEMA),
        groups=pl.DataFrame(groups, schema={"horizon": pl.Int64, "quantile": pl.Int64, "day_pct": pl.Float64}),
        main=main,
        symbols=_by_symbol(market, known, there, forward[main], main),
        quarters=_by_quarter(market, known, there, measured, forward[main], books[main], main),
    )


def alike(values: FloatArray, others: Mapping[str, FloatArray], *, across: bool) -> pl.DataFrame:
    """Return how alike the orders of a feature's values and of others are.

    Parameters
    ----------
    values : ndarray of shape (n_times, n_symbols)
        Of the feature, at the times and symbols of `sampled`.
    others : mapping of str to ndarray of shape (n_times, n_symbols)
        Of other features at the same times.
    across : bool
        Between symbols at each time, averaged over times; otherwise in time, averaged over symbols.

    Returns
    -------
    DataFrame
        `name`, `correlation` (Spearman), the most alike first; null where it is not defined.
    """
    rows = []
    for name, other in others.items():
        one, two = (values, other) if across else (values.T, other.T)
        found = rank_correlations(one, two, min(FEWEST_SYMBOLS, one.shape[1]))
        known = found[~np.isnan(found)]
        rows.append({"name": name, "correlation": float(known.mean()) if len(known) else None})
    frame = pl.DataFrame(rows, schema={"name": pl.String, "correlation": pl.Float64})
    return frame.sort(pl.col("correlation").abs(), "name", descending=[True, False], nulls_last=True)


def sampled(market: BookMarket) -> tuple[slice, tuple[str, ...]]:
    """Return equally spaced rows and symbols of a market that hold about `SAMPLED` values of a feature."""
    symbols = market.symbols[:: -(-len(market.symbols) // SAMPLED_SYMBOLS)]
    bars = len(market.ts)
    return slice(0, bars, max(1, bars * len(symbols) // SAMPLED)), symbols


def on_rows(
    frames: Iterable[pl.DataFrame], market: BookMarket, names: Sequence[str], rows: slice
) -> dict[str, FloatArray]:
    """Return features of frames as arrays over some rows of a market.

    Parameters
    ----------
    frames : iterable of DataFrame
        `symbol`, `ts` and the features, each of some of the market's symbols: memory holds one at a time.
    market : BookMarket
        Its symbols and times; other times are left out.
    names : sequence of str
        Features.
    rows : slice
        From the first row, by a step, as `sampled` gives it.

    Returns
    -------
    dict of str to ndarray of shape (n_rows, n_symbols)
        Truth values as 0 and 1; NaN where unknown.
    """
    step, count = rows.step or 1, len(range(*rows.indices(len(market.ts))))
    columns = {symbol: place for place, symbol in enumerate(market.symbols)}
    found = {name: np.full((count, len(columns)), np.nan) for name in names}
    for frame in frames:
        places = (micros_of(frame["ts"]) - market.ts[0]) // market.step
        kept = (places >= 0) & (places % step == 0) & (places < count * step)
        chosen = frame.filter(pl.Series(kept))
        at = places[kept] // step, chosen["symbol"].replace_strict(columns, return_dtype=pl.Int64).to_numpy()
        for name in names:
            found[name][at] = chosen[name].cast(pl.Float64).to_numpy()
    return found


_HORIZON_SCHEMA: Final = pl.Schema(
    {
        "horizon": pl.Int64(),
        "ic": pl.Float64(),
        "ic_se": pl.Float64(),
        "t": pl.Float64(),
        "times": pl.Int64(),
        "positive": pl.Float64(),
        "long": pl.String(),
        "gross_pct": pl.Float64(),
        "funding_pct": pl.Float64(),
        "costs_pct": pl.Float64(),
        "net_pct": pl.Float64(),
        "net_se": pl.Float64(),
        "net_t": pl.Float64(),
        "turnover": pl.Float64(),
    }
)


@dataclass(frozen=True, eq=False)
class _QuantileBook:
    """What the quantile book that is long the highest values earned: a value for each bar at which it is formed.

    All arrays have shape (n_bars,), as fractions of one leg over the whole horizon, NaN where nothing is known.
    """

    price: FloatArray
    funding: FloatArray
    traded: FloatArray
    rate: float
    bars_a_day: float

    @property
    def side(self) -> float:
        """1 where the high end is held long, -1 where the low end is: whichever earned more before fees."""
        return 1.0 if np.nansum(self.price - self.funding) >= 0.0 else -1.0

    def row(self, horizon: int) -> dict[str, float | str | None]:
        """Return its columns of `FeatureSheet.horizons`."""
        scale = 100.0 * self.bars_a_day / horizon
        net = estimate(scale * self.net(self.side), horizon)
        means = [_mean(each) for each in (self.side * self.price, self.side * self.funding, self.traded)]
        gross, funding, traded = (None if each is None else scale * each for each in means)
        return {
            "long": "high" if self.side > 0.0 else "low",
            "gross_pct": gross,
            "funding_pct": funding,
            "costs_pct": None if traded is None else self.rate * traded,
            "net_pct": net.value,
            "net_se": net.error,
            "net_t": net.t,
            "turnover": None if traded is None else traded / 100.0,
        }

    def net(self, side: float) -> FloatArray:
        """Return what is left after funding, fees and slippage, shape (n_bars,)."""
        left: FloatArray = side * (self.price - self.funding) - self.rate * self.traded
        return left


@dataclass(frozen=True, eq=False)
class _Measured:
    """The values of a feature and how they are held against returns."""

    values: FloatArray
    across: bool
    fewest: int
    quantiles: int
    costs: Costs
    bars_a_day: float

    def information(self, returns: ForwardReturns, horizon: int) -> dict[str, float | None]:
        """Return the columns of the information coefficient of one horizon."""
        found, positive = self.coefficient(returns, horizon)
        return {"ic": found.value, "ic_se": found.error, "t": found.t, "times": found.known, "positive": positive}

    def coefficient(
        self, returns: ForwardReturns, horizon: int, rows: BoolArray | slice = slice(None)
    ) -> tuple[Estimate, float | None]:
        """Return the information coefficient over some rows, and the share of times at which it was above zero."""
        values, total = self.values[rows], returns.total[rows]
        if not self.across:
            return correlation_in_time(values, total, horizon), None
        series = rank_correlations(values, total, self.fewest)
        known = series[~np.isnan(series)]
        return estimate(series, horizon), float((known > 0.0).mean()) if len(known) else None

    @cached_property
    def shares(self) -> FloatArray:
        """The weight of each symbol in each quantile, (quantiles, n_bars, n_symbols); 0 where the book is flat.

        Between symbols the weights of a quantile add up to 1 at each bar; in time, over the window, to the bars of the
        symbol, and then to 1 over the symbols.
        """
        if self.across:
            shares = quantile_shares(self.values, self.quantiles)
            count = (~np.isnan(self.values)).sum(axis=1)
            formed = _spread(self.values) & (count >= self.fewest)
            scale = np.where(formed, self.quantiles / np.maximum(count, 1), 0.0)
            between: FloatArray = shares * scale[None, :, None]
            return between
        shares = np.swapaxes(quantile_shares(self.values.T, self.quantiles), 1, 2)
        in_time: FloatArray = shares * (self.quantiles / self.values.shape[1])
        return in_time

    def earned(self, returns: ForwardReturns, horizon: int) -> list[float]:
        """Return what each quantile earned less the mean of all, percent a day before fees."""
        total = returns.total
        means = [_mean(self._sum(weights, total)) or 0.0 for weights in self.shares]
        middle = float(np.mean(means))
        return [100.0 * self.bars_a_day / horizon * (each - middle) for each in means]

    def book(self, returns: ForwardReturns, horizon: int) -> _QuantileBook:
        """Return the book that is long the highest and short the lowest quantile."""
        weights = self.shares[-1] - self.shares[0]
        ended = np.zeros_like(weights)
        ended[horizon:] = weights[:-horizon]
        price = self._sum(weights, returns.price)
        traded = np.abs(weights - ended).sum(axis=1)
        return _QuantileBook(
            price,
            self._sum(weights, returns.funding),
            np.where(np.isnan(price), np.nan, traded),
            self.costs.taker_fee + self.costs.slippage,
            self.bars_a_day,
        )

    def _sum(self, weights: FloatArray, returns: FloatArray) -> FloatArray:
        """Return the weighted returns of each bar: 0 where the book is flat, NaN where no value or return is known."""
        known = ~np.isnan(returns) & ~np.isnan(self.values)
        return np.where(known.any(axis=1), np.where(known, weights * np.nan_to_num(returns), 0.0).sum(axis=1), np.nan)


def _mean(values: FloatArray) -> float | None:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None


def _spread(values: FloatArray) -> BoolArray:
    """Return the rows whose known values differ."""
    known = ~np.isnan(values)
    low, high = np.where(known, values, np.inf).min(axis=1), np.where(known, values, -np.inf).max(axis=1)
    with np.errstate(invalid="ignore"):
        differs: BoolArray = high - low > _CHANGES * np.maximum(np.abs(low), np.abs(high))
    return differs & known.any(axis=1)


def _autocorrelation(values: FloatArray) -> pl.DataFrame:
    lags = tuple(lag for lag in LAGS if lag < len(values))
    found = autocorrelations(values, lags)
    rows = []
    for lag, line in zip(lags, found, strict=True):
        known = line[~np.isnan(line)]
        if len(known):
            rows.append({"lag": lag, "mean": known.mean(), "low": known.min(), "high": known.max()})
    return pl.DataFrame(rows, schema={"lag": pl.Int64, **dict.fromkeys(("mean", "low", "high"), pl.Float64)})


def _by_symbol(
    market: BookMarket, values: FloatArray, there: BoolArray, returns: ForwardReturns, horizon: int
) -> pl.DataFrame:
    rows = []
    for place, symbol in enumerate(market.symbols):
        own = values[:, place]
        known = own[~np.isnan(own)]
        found = correlation_in_time(values[:, [place]], returns.total[:, [place]], horizon)
        rows.append(
            {
                "symbol": symbol,
                "coverage": len(known) / max(int(there[:, place].sum()), 1),
                "mean": float(known.mean()) if len(known) else None,
                "deviation": float(known.std()) if len(known) else None,
                "ic": found.value,
                "ic_se": found.error,
            }
        )
    kinds = dict.fromkeys(("coverage", "mean", "deviation", "ic", "ic_se"), pl.Float64)
    return pl.DataFrame(rows, schema={"symbol": pl.String, **kinds})


def _by_quarter(
    market: BookMarket,
    values: FloatArray,
    there: BoolArray,
    measured: _Measured,
    returns: ForwardReturns,
    book: _QuantileBook,
    horizon: int,
) -> pl.DataFrame:
    scale = 100.0 * measured.bars_a_day / horizon
    rows = []
    for period, inside in quarter_parts(market.ts).items():
        if not there[inside].any():
            continue
        found, _ = measured.coefficient(returns, horizon, inside)
        gross, net = (_mean(each[inside]) for each in (book.side * book.price, book.net(book.side)))
        rows.append(
            {
                "period": period,
                "coverage": float((~np.isnan(values[inside])).sum() / there[inside].sum()),
                "ic": found.value,
                "ic_se": found.error,
                "gross_pct": None if gross is None else scale * gross,
                "net_pct": None if net is None else scale * net,
            }
        )
    kinds = dict.fromkeys(("coverage", "ic", "ic_se", "gross_pct", "net_pct"), pl.Float64)
    return pl.DataFrame(rows, schema={"period": pl.String, **kinds})
