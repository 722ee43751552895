"""Add a feature of your own and use it beside those of the platform.

Run it with ``.venv/bin/python examples/custom_feature.py``. The feature is in ``examples/my_features/range_share.py``.
`load_folder` tests it: a feature that looks ahead, or whose warm-up is too short, is refused with the reason.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from blofin_resources.market.sample import SampleMarket
from features import FeatureManager, load_folder
from features.bars import FrameSource

SYMBOLS = ["BTC-USDT", "ETH-USDT"]
END = datetime(2025, 6, 12, tzinfo=UTC)


def main() -> None:
    """Print the feature on the last five minutes of two symbols."""
    registry = load_folder(Path(__file__).parent / "my_features")
    market, start = SampleMarket(seed=7, clock=lambda: END), END - timedelta(days=2)
    source = FrameSource({"1m": market.candles(SYMBOLS, "1m", start, END)}, market.funding(SYMBOLS, start, END))
    manager = FeatureManager(source, END, registry)
    print(
        manager.get_features(SYMBOLS, "1m", ["close", "rsi_14", "range_share_20", "range_share_240"], lookback_bars=5)
    )


if __name__ == "__main__":
    main()
