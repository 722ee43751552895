"""Books in the language: what they say, what is refused, and that they see no future."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from support.invented_universe import invented

from backtester import BookRules, PreparedMarket
from features.market import Market
from strategies import Book, Features, Param, Signal, Strategy, Weights, across
from strategies.language import change, mean, previous
from strategies.language.book import interval
from strategies.language.strategy import StrategyError
from strategies.language.values import LanguageError
from strategies.validation.books import scores_of, validate_book


class Momentum(Book):
    """Buy what rose.

    Edge: flows are slow.
    Fails: at reversals.
    """

    name = "toy_momentum"
    timeframe, rebalance = "60m", "8h"
    hours = Param(12, 4, 48)
    share = Param(0.25, 0.1, 0.5)

    def weigh(self, f: Features) -> Weights:
        return Weights(rank_by=f.feature("returns", self.hours), long=self.share, short=self.share, band=0.1)


class Across(Book):
    """Everything that compares symbols, before and after words over time."""

    name = "toy_across"
    rebalance = "4h"

    def weigh(self, f: Features) -> Weights:
        market = f.returns - across.demean(f.returns)
        calm = 0.5 + across.share_above(f.returns_4, 0.0)
        own = across.zscore(mean(f.returns, 6)) + across.rank(previous(across.demean(f.close / f.open), 2))
        return Weights(rank_by=own * calm + mean(market, 3), size="score", keep=1.5)


class Given(Book):
    """Weights of its own."""

    name = "toy_given"

    def weigh(self, f: Features) -> Weights:
        return Weights(weights=0.02 * across.zscore(f.returns_24), gross_limit=0.8)


MARKET = invented()


@pytest.mark.parametrize("book", [Momentum(), Across(), Given()], ids=lambda book: book.name)
def test_scores_on_arrays_are_those_on_frames(book: Book) -> None:
    prepared = PreparedMarket.of("60m", MARKET.candles["60m"], MARKET.funding)
    market = prepared.market
    rows = market.rebalance_rows(book.rules.rebalance)
    on_arrays = book.values_at(market, prepared.columns(book.features()), rows)
    scores = market.dense(scores_of(book, MARKET), "score")
    np.testing.assert_allclose(on_arrays, market.values_at(scores, rows, book.rules.rebalance), rtol=1e-12, atol=1e-15)
    assert np.isfinite(on_arrays).mean() > 0.5


@pytest.mark.parametrize("book", [Momentum(), Across(), Given()], ids=lambda book: book.name)
def test_nothing_that_a_book_says_depends_on_the_future_of_any_symbol(book: Book) -> None:
    assert validate_book(book, MARKET) == []


@pytest.mark.parametrize("book", [Momentum(), Across(), Given()], ids=lambda book: book.name)
def test_a_backtest_up_to_a_moment_does_not_depend_on_what_follows(book: Book) -> None:
    whole = PreparedMarket.of("60m", MARKET.candles["60m"], MARKET.funding).backtest(book).result.equity
    cut = MARKET.candles["60m"]["ts"].min() + timedelta(hours=250)  # type: ignore[operator]
    for other in (MARKET.cut(cut), MARKET.noised(cut, 3)):
        again = PreparedMarket.of("60m", other.candles["60m"], other.funding).backtest(book).result.equity
        np.testing.assert_allclose(whole[:250], again[:250], rtol=1e-12)
        assert len(again) == 250 or not np.allclose(whole[250:], again[250:])


def test_a_book_that_looks_ahead_or_knows_prices_is_found() -> None:
    class Ahead(Momentum):
        """Reads the next bar, which no text of the language can."""

        name = "toy_ahead"

        def scores(self, frame: pl.DataFrame) -> pl.DataFrame:
            return super().scores(frame).with_columns(pl.col("score").shift(-1).over("symbol"))

    class LaterListings(Momentum):
        """Knows how many symbols there will be."""

        name = "toy_later"

        def scores(self, frame: pl.DataFrame) -> pl.DataFrame:
            return super().scores(frame).with_columns(pl.col("score") * frame["symbol"].n_unique())

    class Dear(Momentum):
        """Buys what is dear in its unit."""

        name = "toy_dear"

        def weigh(self, f: Features) -> Weights:
            return Weights(rank_by=f.close)

    assert [finding.check for finding in validate_book(Ahead(), MARKET)] == ["causality"]
    assert {finding.check for finding in validate_book(LaterListings(), MARKET)} == {"causality"}
    assert [finding.check for finding in validate_book(Dear(), MARKET)] == ["price memory"]


def test_a_market_on_which_nothing_can_be_checked_is_refused() -> None:
    few = MARKET.candles["60m"].filter(pl.col("symbol") < "S4")
    with pytest.raises(ValueError, match="toy_momentum cannot be checked on 60m bars of 4 symbols"):
        validate_book(Momentum(), Market({"60m": few}, MARKET.funding))
    with pytest.raises(ValueError, match="on 60m bars of 0 symbols"):
        validate_book(Momentum(), Market({}, MARKET.funding))
    short = MARKET.candles["60m"].filter(pl.col("ts") < pl.col("ts").min() + timedelta(hours=10))
    assert [each.check for each in validate_book(Momentum(), Market({"60m": short}, MARKET.funding))] == ["no score"]


def test_only_members_are_compared_and_scored_across() -> None:
    frame = MARKET.candles["60m"].with_columns(
        pl.col("symbol").is_in(["S0-USDT", "S1-USDT", "S2-USDT", "S3-USDT", "S4-USDT"]).alias("member"),
        returns_24=(pl.col("close") / pl.col("close").shift(24) - 1).over("symbol"),
    )
    scores = Given().scores(frame)
    known = scores.drop_nulls("score")["symbol"].unique().sort().to_list()
    assert known == ["S0-USDT", "S1-USDT", "S2-USDT", "S3-USDT", "S4-USDT"]
    alone = Given().scores(frame.filter("member").drop("member"))
    assert scores.filter(pl.col("symbol").is_in(known)).equals(alone)


def test_rules_are_what_the_weights_say() -> None:
    book = Momentum(share=0.4)
    assert book.rules == BookRules(timedelta(hours=8), long=0.4, short=0.4, band=0.1, neutral="dollar")
    assert book.features() == ["returns_12"]
    assert Momentum(hours=24).features() == ["returns_24"]
    assert Momentum(hours=24).version != Momentum().version == Momentum().with_parameters().version
    assert Given().rules.given_weights
    assert Given().rules.neutral == "none"


def test_one_leg_needs_no_neutrality() -> None:
    class OneLeg(Momentum):
        """Long only."""

        def weigh(self, f: Features) -> Weights:
            return Weights(rank_by=f.returns_24, short=0.0)

    assert OneLeg().rules.neutral == "none"


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({}, "either rank_by"),
        ({"rank_by": "x", "weights": "x"}, "either rank_by"),
        ({"rank_by": 1.0}, "values over features"),
        ({"rank_by": "x", "long": 2.0}, "long is 2"),
        ({"rank_by": "x", "band": "x"}, "number or a parameter"),
        ({"rank_by": "x", "size": "half"}, "size is 'half'"),
        ({"rank_by": "x", "keep": 0.5}, "keep is 0.5"),
        ({"rank_by": "truth"}, "needs numbers"),
        ({"rank_by": "x", "short": 0.0, "neutral": "dollar"}, "would be flat"),
    ],
)
def test_weights_that_make_no_sense_are_refused(parts: dict[str, object], message: str) -> None:
    x = change(Features(lambda _: "number")["x"])
    given = {name: x if part == "x" else x > 0 if part == "truth" else part for name, part in parts.items()}
    with pytest.raises(LanguageError, match=message):
        Weights(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"name": "X"}, "name must be"),
        ({"timeframe": "7m"}, "timeframe must be one of"),
        ({"rebalance": "daily"}, 'such as "8h"'),
        ({"rebalance": "5h"}, "divisor of a day"),
        ({"rebalance": "4h", "timeframe": "1d"}, "no multiple of a bar of 1d"),
        ({"__doc__": None}, "docstring is missing"),
    ],
)
def test_classes_that_make_no_sense_are_refused(attributes: dict[str, object], message: str) -> None:
    with pytest.raises(StrategyError, match=message):
        type("Odd", (Momentum,), {"__doc__": "A book.", **attributes})()


def test_a_book_cannot_read_shorter_bars() -> None:
    class Shorter(Momentum):
        """Reads minutes on hours."""

        def weigh(self, f: Features) -> Weights:
            return Weights(rank_by=f["5m:returns_12"])

    with pytest.raises(StrategyError, match="60m bars cannot read 5m:returns_12"):
        Shorter()


def test_a_strategy_cannot_compare_symbols() -> None:
    class Comparing(Strategy):
        """Compares."""

        name = "toy_comparing"

        def detect(self, f: Features) -> Signal:
            return Signal(long_entry=across.rank(f.returns) > 0.5)

    with pytest.raises(StrategyError, match="write a Book"):
        Comparing()


def test_intervals_are_hours_or_days() -> None:
    assert interval("8h") == timedelta(hours=8)
    with pytest.raises(LanguageError, match="rebalance is '0h'"):
        interval("0h")


def test_flagged_bars_have_no_score() -> None:
    flagged = MARKET.candles["60m"].filter(pl.col("flag").is_not_null())
    scores = scores_of(Momentum(), MARKET)
    assert flagged.height > 3
    assert scores.join(flagged, on=["symbol", "ts"], how="semi")["score"].null_count() == flagged.height


def test_funding_reaches_a_book() -> None:
    class Carry(Momentum):
        """Carries."""

        name = "toy_carry"

        def weigh(self, f: Features) -> Weights:
            return Weights(rank_by=-mean(f.funding_rate, 24))

    assert scores_of(Carry(), MARKET)["score"].drop_nulls().n_unique() > 100
    assert scores_of(Carry(), Market(MARKET.candles, MARKET.funding.clear()))["score"].null_count() > 0
