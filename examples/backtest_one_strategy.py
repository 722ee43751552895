"""Backtest a strategy of your own in Python: no warehouse, no command, frames in and frames out.

Run it with ``.venv/bin/python examples/backtest_one_strategy.py``. The candles are synthetic; any frames with the same
columns do.
"""

from datetime import UTC, datetime, timedelta

from backtester import BacktestEngine, aggregate
from blofin_resources.market.sample import SampleMarket
from features import FeatureManager
from features.bars import FrameSource
from strategies import Features, Param, Signal, Strategy

SYMBOL = "BTC-USDT"
END = datetime(2025, 6, 12, tzinfo=UTC)


class HourlyReversal(Strategy):
    """Buy what fell far below its mean, sell short what rose far above it.

    Edge: sellers in a hurry pay those who can wait.
    Fails: in a trend.
    """

    name = "hourly_reversal"
    timeframes = ("60m",)
    length = Param(24, 12, 72)
    distance = Param(1.5, 0.5, 3.0)

    def detect(self, f: Features) -> Signal:
        """See `Strategy.detect`."""
        away = f.feature("zscore", self.length)
        return Signal(
            long_entry=away < -self.distance,
            short_entry=away > self.distance,
            long_exit=away > 0,
            short_exit=away < 0,
            stop=0.03,
            time_stop=24,
        )


def source() -> FrameSource:
    """Return three weeks of candles and funding."""
    market, start = SampleMarket(seed=7, clock=lambda: END), END - timedelta(days=21)
    minutes = market.candles([SYMBOL], "1m", start, END)
    return FrameSource({"1m": minutes, "60m": aggregate(minutes, "60m")}, market.funding([SYMBOL], start, END))


def main() -> None:
    """Backtest the last week and print what came of it."""
    manager = FeatureManager(source(), as_of=END)
    engine = BacktestEngine(SYMBOL, END - timedelta(days=7), END).run_strategy(HourlyReversal(), manager)
    metrics = engine.calculate_metrics()
    for name in ("score", "trades", "win_rate", "total_pnl_pct", "sharpe", "sharpe_se", "max_drawdown"):
        print(f"{name:>15}  {metrics[name]}")
    print(engine.trades.select("side", "entry_ts", "exit_ts", "pnl", "exit_reason"))


if __name__ == "__main__":
    main()
