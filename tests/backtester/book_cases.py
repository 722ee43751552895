"""Random universes and books, as the plain loop and as the kernel take them."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from book_reference import Answer, Case, run

from backtester.simulation import book_kernel as kernel
from backtester.simulation.book_market import BookMarket, Contract
from backtester.simulation.books import BookResult, BookRules, run_book
from backtester.simulation.costs import Costs
from features.array_types import FloatArray
from features.bars import Timeframe

STEPS: dict[Timeframe, int] = {"5m": 300_000_000, "60m": 3_600_000_000, "1d": 86_400_000_000}
START = int(datetime(2025, 5, 28, tzinfo=UTC).timestamp() * 1e6)


@dataclass(frozen=True)
class Universe:
    market: BookMarket
    values: FloatArray
    payments: tuple[tuple[tuple[int, float], ...], ...]
    begin: int


def universe(
    seed: int, bars: int, symbols: int, *, timeframe: Timeframe = "60m", begin: int = 0, move: float = 0.01, **more: Any
) -> Universe:
    """Draw bars with gaps, flags, ends, members that come and go, ties, lots and funding at odd times."""
    rng = np.random.default_rng(seed)
    step = STEPS[timeframe]
    ts = START + step * np.arange(bars, dtype=np.int64)
    steps = rng.standard_t(4, (bars, symbols)) * move * rng.uniform(0.3, 2.0, symbols)
    jumps = rng.normal(0, 0.7, (bars, symbols)) * (rng.random((bars, symbols)) < more.get("jumps", 0.0))
    close = rng.uniform(0.05, 500.0, symbols) * np.exp(np.cumsum(steps + jumps, axis=0))
    opens = np.concatenate([close[:1], close[:-1]]) * np.exp(jumps + rng.normal(0, move / 10, (bars, symbols)))
    high = np.maximum(opens, close) * np.exp(np.abs(rng.normal(0, move, (bars, symbols))))
    low = np.minimum(opens, close) * np.exp(-np.abs(rng.normal(0, move, (bars, symbols))))
    missing = rng.random((bars, symbols)) < more.get("gaps", 0.03)
    for column in range(symbols):
        if rng.random() < more.get("silences", 0.3):  # listed later, silent for days, or ended
            kind, at = rng.integers(3), int(rng.integers(bars))
            long = (
                slice(0, at) if kind == 0 else slice(at, None) if kind == 1 else slice(at, at + int(90 * 36e8 / step))
            )
            missing[long, column] = True
    member = rng.random((bars, symbols)) < more.get("leaves", 0.5)
    days = ((ts + step) // 86_400_000_000).astype(int)
    member = member[np.searchsorted(ts, ts[0] + (days - days[0]) * 86_400_000_000 - step).clip(0, bars - 1)]
    member |= rng.random(symbols) < more.get("stays", 0.7)
    values = rng.normal(0, 1, (bars, symbols)) + rng.normal(0, 1, symbols)
    if rng.random() < more.get("ties", 0.4):
        values = np.round(values * rng.choice([0.5, 1.0, 2.0]))
    values[rng.random((bars, symbols)) < more.get("nulls", 0.05)] = np.nan
    values[missing] = np.nan
    moment = timedelta(microseconds=1)
    zero = datetime(1970, 1, 1, tzinfo=UTC)
    contracts, payments = [], []
    for _ in range(symbols):
        end = zero + int(ts[int(rng.integers(bars))] + rng.integers(step)) * moment
        told = end + timedelta(hours=int(rng.integers(-100, 100)))
        lot = float(rng.choice([0.0, 0.1, 1.0, 25.0]))
        contracts.append(
            Contract(
                lot if more.get("lots", True) else 0.0,
                lot * int(rng.integers(1, 5)) if more.get("lots", True) else 0.0,
                float(rng.choice([0.0, 0.005, 0.05])),
                *((end, told) if rng.random() < more.get("ends", 0.1) else ()),
            )
        )
        times = np.sort(rng.integers(ts[0] - 5 * step, ts[-1] + 5 * step, more.get("payments", bars // 8 + 1)))
        times[::2] -= times[::2] % step
        payments.append(
            tuple((int(time), float(rate)) for time, rate in zip(times, rng.normal(0, 1e-3, len(times)), strict=True))
        )
    rates = np.zeros((bars, symbols))
    for column, paid in enumerate(payments):
        for time, rate in paid:
            for row in range(bars):
                if ts[row] - step < time <= ts[row]:
                    rates[row, column] += rate
    ends = np.array([contract.end for contract in contracts])
    missing |= ts[:, None] >= ends
    arrays = {"open": opens, "high": high, "low": low, "close": close}
    market = BookMarket(
        tuple(f"S{column:02}-USDT" for column in range(symbols)),
        timeframe,
        ts,
        **{name: np.where(missing, np.nan, array) for name, array in arrays.items()},
        quote_volume=np.where(missing, np.nan, rng.lognormal(12, 1, (bars, symbols))),
        member=member,
        funding=rates,
        contracts=tuple(contracts),
    )
    return Universe(market, values, tuple(payments), begin)


def plainly(drawn: Universe, rules: BookRules, costs: Costs, capital: float, phase: timedelta) -> Answer:
    """Run the plain loop on the same universe."""
    market = drawn.market

    def unknown(array: FloatArray) -> list[list[float | None]]:
        return [[None if np.isnan(x) else float(x) for x in row] for row in array]

    micro = timedelta(microseconds=1)
    return run(
        Case(
            [int(t) for t in market.ts],
            market.step,
            unknown(market.open),
            unknown(market.high),
            unknown(market.low),
            unknown(market.close),
            market.member.tolist(),
            unknown(drawn.values),
            drawn.payments,
            [contract.lot for contract in market.contracts],
            [contract.minimum for contract in market.contracts],
            [contract.maintenance for contract in market.contracts],
            [None if contract.delisted is None else contract.end for contract in market.contracts],
            drawn.begin,
            rules.rebalance // micro,
            phase // micro,
            rules.long,
            rules.short,
            rules.size,
            rules.neutral,
            rules.gross,
            rules.limit,
            rules.cap,
            rules.band,
            rules.keep,
            rules.target_volatility,
            rules.given_weights,
            costs.taker_fee,
            costs.slippage,
            capital,
        )
    )


def random_rules(seed: int, *, long_window: bool) -> BookRules:
    rng = np.random.default_rng(seed + 1_000_000)
    both = rng.random() < 0.75
    measured = long_window and rng.random() < 0.9
    given = rng.random() < 0.2
    neutral = str(rng.choice(["none", "dollar", *(["beta"] * 2 if measured else [])])) if both else "none"
    size = str(rng.choice(["equal", "rank", "score", *(["inverse_volatility"] * 2 if measured else [])]))
    gross = float(rng.choice([0.5, 1.0, 2.0, 4.0]))
    return BookRules(
        rebalance=timedelta(hours=int(rng.choice([1, 2, 6, 12, 24, 48, 168]))),
        long=float(rng.choice([0.1, 0.2, 0.35, 0.5, 1.0])),
        short=float(rng.choice([0.1, 0.2, 0.35, 0.5])) if both else 0.0,
        size=size,  # type: ignore[arg-type]
        neutral=neutral,  # type: ignore[arg-type]
        gross=gross,
        gross_limit=float(gross * rng.choice([0.7, 1.0, 2.0])),
        cap=float(rng.choice([0.05, 0.2, 0.4, 5.0])),
        band=float(rng.choice([0.0, 0.1, 0.3])),
        keep=float(rng.choice([0.0, 1.0, 1.5, 3.0])),
        target_volatility=float(rng.choice([0.1, 0.5, 2.0])) if measured and rng.random() < 0.5 else None,
        given_weights=bool(given),
    )


def difference(  # noqa: PLR0911  # the first difference is enough
    drawn: Universe, rules: BookRules, costs: Costs, capital: float = 10_000.0
) -> str:
    """Return where the kernel and the plain loop differ; '' where they do not."""
    values = drawn.values / 3 if rules.given_weights else drawn.values
    drawn = replace(drawn, values=values)
    result = run_book(drawn.market, rules, values, costs=costs, capital=capital, begin=drawn.begin)
    for tranche in result.tranches:
        answer = plainly(drawn, rules, costs, tranche.capital, tranche.phase)
        for name, place in (("equity", kernel.EQUITY), ("adverse", kernel.ADVERSE)):
            other = np.array(getattr(answer, name))
            off = np.abs(tranche.series[place] - other) > 1e-12 * np.maximum(np.abs(other), tranche.capital)
            if off.any():
                row = int(np.argmax(off))
                return f"{name} of {tranche.phase} in row {row}: {tranche.series[place][row]} and {other[row]}"
        mine, theirs = sorted(trades_of(tranche)), sorted(answer.trades)
        if [trade[:5] for trade in mine] != [trade[:5] for trade in theirs]:
            odd = {t[:5] for t in mine} ^ {t[:5] for t in theirs}
            return f"trades of {tranche.phase}: {sorted(odd)[:4]}"
        for one, other in zip(mine, theirs, strict=True):
            if not np.allclose(one[5:], other[5:], rtol=1e-9, atol=1e-9 * tranche.capital):
                return f"trade {one} and {other}"
        if len(answer.fills) != len(tranche.fills):
            return f"{len(tranche.fills)} and {len(answer.fills)} fills"
        if tranche.outcome[kernel.RUINED_AT] != answer.ruined_at:
            return f"ruined at {tranche.outcome[kernel.RUINED_AT]} and {answer.ruined_at}"
        if abs(tranche.outcome[kernel.SHORTFALL] - answer.shortfall) > 1e-9 * tranche.capital:
            return f"shortfall {tranche.outcome[kernel.SHORTFALL]} and {answer.shortfall}"
    return ""


def trades_of(tranche: Any) -> list[tuple[Any, ...]]:
    rows = []
    for e in tranche.trades:
        head = (int(e[kernel.E_SYMBOL]), int(e[kernel.E_SIDE]), int(e[kernel.E_ENTRY_ROW]), int(e[kernel.E_EXIT_ROW]))
        columns = (kernel.E_ENTRY, kernel.E_EXIT, kernel.E_LARGEST, kernel.E_BASIS, kernel.E_PNL, kernel.E_FEES,
                   kernel.E_FUNDING, kernel.E_SLIPPAGE, kernel.E_LOST)  # fmt: skip
        rows.append((*head, kernel.REASONS[int(e[kernel.E_REASON])], *(float(e[c]) for c in columns)))
    return rows


def book_of(drawn: Universe, rules: BookRules, **more: Any) -> BookResult:
    return run_book(drawn.market, rules, drawn.values, begin=drawn.begin, **more)
