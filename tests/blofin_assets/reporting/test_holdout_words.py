"""How long the holdouts behind a ranking were, in words."""

import polars as pl

from blofin_assets.reporting.collect.cycles import holdout_words


def words(*periods: str | None) -> str:
    return holdout_words(pl.DataFrame({"backtest_period": periods}, schema={"backtest_period": pl.String}))


def test_the_words_say_which_holdouts_were_longer() -> None:
    assert words("7d", "7d", None) == words() == "7 days"
    assert words("7d", "90d") == "7 days, or 90 days for 1 that trades on 4h and 1d"
    assert words("7d", "28d", "90d") == "7 days, or 28 to 90 days for 2 that trade on 4h and 1d"
    assert words("90d", "90d") == "90 days for 2 that trade on 4h and 1d"
