"""Random lanes for the tests: small price grids, so that ties, touches and jumps happen all the time."""

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from reference import Bar, Outcome, Replay, Signal

from backtester import Bars, Costs, Lane, MarginRules, Signals
from backtester.simulation.bar_arrays import Minutes
from features.bars import MINUTES, Timeframe

START = 1_748_736_000_000_000  # 2025-06-01T00:00:00Z
MINUTE = 60_000_000


@dataclass
class Case:
    lane: Lane
    bars: list[Bar]
    signals: list[Signal]
    funding: list[tuple[int, float]]
    minutes: list[Bar] | None
    capital: float

    def replay(self, *, favourable: bool = False, fixed: bool = False) -> Outcome:
        return Replay(
            self.bars,
            self.signals,
            [(settled(when), rate) for when, rate in self.funding],
            self.lane.bars.step,
            self.lane.costs,
            self.lane.rules,
            self.capital,
            favourable=favourable,
            minutes=self.minutes,
            finer=MINUTE if self.lane.bars.minutes is None else self.lane.bars.minutes.step,
            fixed=fixed,
            rounded=self.lane.rounded,
        ).run()


def in_lots(case: Case, seed: int) -> Case:
    """Return the case with an instrument that is traded in lots, with a smallest order."""
    rng = np.random.default_rng([seed, 2])  # a stream of its own
    lot = float(rng.choice([0.0, 0.001, 0.1, 1.0, 7.0, 30.0]))
    least = float(rng.choice([0.0, lot, 3 * lot, 60.0, 90.0]))
    rules = replace(case.lane.rules, lot=lot, min_quantity=least)
    case.lane = replace(case.lane, rules=rules, rounded=True)
    case.capital = float(rng.choice([1_000.0, 10_000.0]))
    return case


def settled(when: int) -> int:
    """Return when a payment counts as made: one stamped up to 5 s after a full minute is that minute's."""
    late = when % MINUTE
    return when - late if late <= 5_000_000 else when


def stamps(micros: list[int]) -> pl.Series:
    return pl.Series("ts", micros, dtype=pl.Int64).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def frame_of(bars: list[Bar]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "symbol": pl.Series(["T-USDT"] * len(bars), dtype=pl.String),
            "ts": stamps([b.ts for b in bars]),
            "open": [b.open for b in bars],
            "high": [b.high for b in bars],
            "low": [b.low for b in bars],
            "close": [b.close for b in bars],
            "quote_volume": pl.Series([b.traded for b in bars], dtype=pl.Float64),
            "flag": pl.Series([None if b.sound else "repaired" for b in bars], dtype=pl.String),
        }
    )


def funding_of(payments: list[tuple[int, float]]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "symbol": pl.Series(["T-USDT"] * len(payments), dtype=pl.String),
            "ts": stamps([when for when, _ in payments]),
            "rate": pl.Series([rate for _, rate in payments], dtype=pl.Float64),
        }
    )


def signals_frame(bars: list[Bar], signals: list[Signal]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "ts": stamps([b.ts for b in bars]),
            **{n: [getattr(s, n) for s in signals] for n in ("long_entry", "short_entry", "long_exit", "short_exit")},
            **{
                n: pl.Series([getattr(s, n) for s in signals], dtype=pl.Float64)
                for n in ("stop", "target", "trail", "time_stop", "size", "leverage", "entry_limit")
            },
        }
    )


def random_walk(rng: np.random.Generator, count: int, ts0: int, step: int) -> list[Bar]:
    """Bars on a grid of tenths; opens jump now and then."""
    rough = rng.choice([0.1, 0.5, 2.0])
    bars, price = [], float(rng.choice([100.0, 100.0, 10.0, 3.0]))  # a low price doubles soon
    for k in range(count):
        if rng.random() < 0.15:
            price += float(rng.integers(-30, 31)) / 10 * rough
        price = max(price, 1.0)
        path = np.maximum(price + np.cumsum(np.r_[0.0, rng.integers(-10, 11, 4) / 10 * rough]), 0.5)
        bars.append(Bar(ts0 + k * step, *(float(x) for x in (path[0], path.max(), path.min(), path[-1]))))
        price = float(path[-1])
    return bars


def merged(minutes: list[Bar], step: int, inner: int = MINUTE) -> list[Bar]:
    """Longer bars; one that lacks a minute or holds an unsound one is unsound."""
    groups: dict[int, list[Bar]] = {}
    for minute in minutes:
        groups.setdefault(minute.ts - (minute.ts - START) % step, []).append(minute)
    return [
        Bar(
            ts,
            inside[0].open,
            max(b.high for b in inside),
            min(b.low for b in inside),
            inside[-1].close,
            len(inside) == step // inner and all(b.sound for b in inside),
        )
        for ts, inside in groups.items()
    ]


def random_case(seed: int) -> Case:  # noqa: C901 - one draw after the other, so that a seed stays readable
    rng = np.random.default_rng(seed)
    timeframe: Timeframe = str(rng.choice(["1m", "5m"]))  # type: ignore[assignment]
    finer: Timeframe = "1m"
    if timeframe == "5m" and seed % 3 == 0:  # hours inside bars of four hours, as minutes inside those of five
        timeframe, finer = "4h", "60m"
    step, inner = MINUTES[timeframe] * MINUTE, MINUTES[finer] * MINUTE
    count = int(rng.integers(1, 60) if rng.random() < 0.85 else rng.integers(60, 200))
    minutes = None
    if timeframe != "1m" and rng.random() < 0.6:
        minutes = random_walk(rng, count * (step // inner), START, inner)
        for minute in minutes:
            minute.sound = rng.random() > rng.choice([0.0, 0.01])
        minutes = [m for m in minutes if rng.random() > rng.choice([0.0, 0.01])] or minutes[:1]
        bars = merged(minutes, step, inner)
        if rng.random() < 0.3:
            minutes = [m for m in minutes if rng.random() > 0.2] or minutes[:1]  # the finer data lack what the bar had
    else:
        bars = random_walk(rng, count, START, step)
        lost, spoiled = rng.choice([0.0, 0.1]), rng.choice([0.0, 0.1])
        for bar in bars:
            bar.sound = rng.random() >= spoiled
        bars = [b for b in bars if rng.random() >= lost] or bars[:1]
    if rng.random() < 0.2:
        for bar in bars:
            shift = float(rng.integers(-10, 11)) / 10
            bar.mark_open, bar.mark_high, bar.mark_low = (
                bar.open,
                max(bar.high + shift, 0.5),
                max(bar.low - shift, 0.5),
            )
    often = rng.choice([0.02, 0.1, 0.4])
    leveraged = rng.random() < 0.3

    def level(chance: float, most: int) -> list[float | None]:
        same = float(rng.integers(1, most)) / 1000 if rng.random() < 0.5 else None
        used = rng.random() < chance
        return [
            (same or float(rng.integers(1, most)) / 1000) if used and (same or rng.random() < 0.8) else None
            for _ in bars
        ]

    stop, target, trail = level(0.6, 40), level(0.6, 40), level(0.4, 40)
    orders = np.random.default_rng([seed, 1])  # a stream of its own: without limits the cases are those of before
    resting = orders.random() < 0.5
    limit = [float(orders.integers(1, 21)) / 1000 if resting and orders.random() < 0.8 else None for _ in bars]
    timed = rng.random() < 0.4
    signals = [
        Signal(
            *(bool(rng.random() < p) for p in (often, often, often / 2, often / 2)),
            stop=stop[k],
            target=target[k],
            trail=trail[k],
            time_stop=int(rng.integers(1, 12)) if timed and rng.random() < 0.8 else None,
            size=float(rng.choice([1.0, 0.5])),
            leverage=float(rng.choice([1.0, 2.0, 10.0, 25.0])) if leveraged else 1.0,
            entry_limit=limit[k],
        )
        for k in range(len(bars))
    ]
    payments = []
    if rng.random() < 0.6:
        spacing = int(rng.choice([step, 3 * step, 7 * step]))
        offset = int(rng.choice([0, step // 2, 1]))
        last = bars[-1].ts + 3 * step
        payments = [
            (when, float(rng.integers(-20, 21)) / 1000) for when in range(START - 2 * spacing + offset, last, spacing)
        ]
    costs = Costs(
        *rng.choice([[0.0006, 0.0002, 0.0002], [0.0, 0.0, 0.0], [0.002, -0.0002, 0.003]]), bool(rng.random() < 0.3),
        impact=float(orders.choice([0.0, 0.0, 0.01, 0.3])),
    )  # fmt: skip
    for bar in bars:
        bar.traded = float(orders.choice([0.0, 100.0, 10_000.0, 1e6])) if orders.random() < 0.9 else None
    rules = MarginRules(50.0, ((8_000.0, 0.004), (30_000.0, 0.01), (float("inf"), 0.02)))
    mark = None
    if bars[0].mark_open is not None:
        mark = pl.DataFrame(
            {
                "ts": stamps([b.ts for b in bars]),
                **{n: [getattr(b, f"mark_{n}") for b in bars] for n in ("open", "high", "low")},
            }
        )
    made = Bars.from_frame(frame_of(bars), timeframe, funding=funding_of(payments), mark=mark)
    if minutes is not None:
        made = replace(made, minutes=Minutes.from_frame(frame_of(minutes), finer))
    lane = Lane(made, Signals.from_frame(signals_frame(bars, signals), made, rules), costs, rules)
    return Case(lane, bars, signals, payments, minutes, 10_000.0)
