"""The kernel of books against a plain loop, and what must hold whatever the market does."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from book_cases import START, Universe, book_of, difference, random_rules, universe
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backtester.simulation import book_kernel as kernel
from backtester.simulation.book_market import BookMarket, Contract
from backtester.simulation.books import BookResult, BookRules, run_book
from backtester.simulation.costs import Costs

DAILY = timedelta(days=1)
CALM = settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
SEEDS = st.integers(0, 2**32 - 1)


def drawn_difference(seed: int, bars: int, symbols: int, *, measured: bool = False) -> str:
    rng = np.random.default_rng(seed)
    where = {"move": float(rng.choice([0.003, 0.01, 0.05, 0.2])), "jumps": float(rng.choice([0.0, 0.1]))}
    timeframe = "60m" if measured else rng.choice(["60m", "60m", "1d"])
    begin = bars - 60 if measured else int(rng.choice([0, min(5, bars - 2)]))
    drawn = universe(seed, bars, symbols, timeframe=timeframe, begin=begin, **where)
    rules = random_rules(seed, long_window=measured)
    if timeframe == "1d" and rules.rebalance < DAILY:
        rules = replace(rules, rebalance=DAILY)
    costs = Costs(slippage=float(rng.choice([0.0, 0.0002, 0.02])))
    return difference(drawn, rules, costs, float(rng.choice([100.0, 10_000.0, 1_000_000.0])))


@settings(CALM, max_examples=250)
@given(seed=SEEDS, bars=st.integers(3, 90), symbols=st.integers(1, 10))
def test_equity_and_trades_are_those_of_the_plain_loop(seed: int, bars: int, symbols: int) -> None:
    assert drawn_difference(seed, bars, symbols) == ""


@settings(CALM, max_examples=6)
@given(seed=SEEDS, bars=st.integers(440, 800), symbols=st.integers(5, 7))
def test_volatilities_and_betas_are_those_of_the_plain_loop(seed: int, bars: int, symbols: int) -> None:
    assert drawn_difference(seed, bars, symbols, measured=True) == ""


@pytest.mark.long
@settings(CALM, max_examples=1_000)
@given(seed=SEEDS, bars=st.integers(3, 160), symbols=st.integers(1, 12))
def test_a_thousand_universes_are_those_of_the_plain_loop(seed: int, bars: int, symbols: int) -> None:
    assert drawn_difference(seed, bars, symbols) == ""


@pytest.mark.long
@settings(CALM, max_examples=5_000)
@given(seed=SEEDS, bars=st.integers(3, 240), symbols=st.integers(1, 14))
def test_thousands_of_universes_are_those_of_the_plain_loop(seed: int, bars: int, symbols: int) -> None:
    assert drawn_difference(seed, bars, symbols) == ""


@pytest.mark.long
@settings(CALM, max_examples=100)
@given(seed=SEEDS, bars=st.integers(420, 860), symbols=st.integers(5, 9))
def test_many_volatilities_and_betas_are_those_of_the_plain_loop(seed: int, bars: int, symbols: int) -> None:
    assert drawn_difference(seed, bars, symbols, measured=True) == ""


def test_the_random_universes_reach_every_event() -> None:
    """Otherwise the agreement would say little."""
    reasons: set[str] = set()
    outcomes = np.zeros(kernel.OUTCOMES)
    for seed in range(150):
        drawn = universe(seed, 120, 9, move=0.05 if seed % 2 else 0.2, jumps=0.1)
        result = book_of(drawn, random_rules(seed, long_window=False))
        reasons |= set(result.trades["reason"])
        outcomes += np.max([tranche.outcome > 0 for tranche in result.tranches], axis=0)
    assert reasons == set(kernel.REASONS) - {""}
    assert (outcomes > 0).all(), "shortfall, ruin, ruin by extremes, increases cut by the margin"


def rules_of(seed: int) -> BookRules:
    return replace(random_rules(seed, long_window=False), rebalance=timedelta(hours=6))


def calm_universe(seed: int, bars: int = 150, symbols: int = 9) -> Universe:
    return universe(seed, bars, symbols, jumps=0.02)


@pytest.mark.parametrize("seed", range(25))
def test_equity_changes_by_what_trades_earn_less_fees_funding_and_losses(seed: int) -> None:
    drawn = universe(seed, 150, 9, move=0.03, jumps=0.05)
    result = book_of(drawn, random_rules(seed, long_window=False))
    still_open = 0.0
    for tranche in result.tranches:
        marks = np.nan_to_num(drawn.market.mark[-1])
        value = np.abs(tranche.quantities) * marks
        price = 1.0 - np.sign(tranche.quantities) * result.costs.slippage
        still_open += float((value * (result.costs.slippage + price * result.costs.taker_fee)).sum())
    earned = result.trades["net"].sum() + still_open
    assert result.equity[-1] - result.shortfall == pytest.approx(result.capital + earned, abs=1e-7)


@pytest.mark.parametrize("seed", range(15))
def test_the_order_of_symbols_changes_nothing(seed: int) -> None:
    drawn, rules = calm_universe(seed), rules_of(seed)
    order = np.random.default_rng(seed).permutation(len(drawn.market.symbols))
    one = book_of(drawn, rules)
    arrays = {
        name: np.ascontiguousarray(getattr(drawn.market, name)[:, order])
        for name in ("open", "high", "low", "close", "quote_volume", "member", "funding")
    }
    contracts = tuple(drawn.market.contracts[place] for place in order)
    symbols = tuple(drawn.market.symbols[place] for place in order)
    market = replace(drawn.market, symbols=symbols, contracts=contracts, **arrays, _measured={})
    other = run_book(market, rules, np.ascontiguousarray(drawn.values[:, order]))
    np.testing.assert_allclose(one.equity, other.equity, rtol=1e-12)
    columns = ["symbol", "tranche", "side", "entry_ts", "exit_ts", "reason"]
    assert one.trades.select(columns).equals(other.trades.select(columns))


@pytest.mark.parametrize("seed", range(15))
def test_the_unit_of_a_symbol_changes_nothing_without_lots(seed: int) -> None:
    drawn, rules = universe(seed, 150, 9, lots=False), rules_of(seed)
    factor = np.ones(9)
    factor[seed % 9] = 2.0
    prices = {name: getattr(drawn.market, name) * factor for name in ("open", "high", "low", "close")}
    other = run_book(replace(drawn.market, **prices, _measured={}), rules, drawn.values)
    np.testing.assert_allclose(book_of(drawn, rules).equity, other.equity, rtol=1e-12)


@pytest.mark.parametrize("seed", range(25))
def test_nothing_before_a_cut_changes_with_the_future(seed: int) -> None:
    drawn, rules = calm_universe(seed), random_rules(seed, long_window=False)
    cut = int(np.random.default_rng(seed).integers(5, 145))
    market = drawn.market.until(drawn.market.time_of(cut))
    assert len(market.ts) == cut
    rng = np.random.default_rng(seed)
    noise = np.exp(rng.normal(0, 1, drawn.market.close.shape))
    noise[:cut] = 1.0
    prices = {name: getattr(drawn.market, name) * noise for name in ("open", "high", "low", "close")}
    other = replace(drawn.market, **prices, _measured={})
    whole = book_of(drawn, rules)
    for again in (run_book(market, rules, drawn.values[:cut]), run_book(other, rules, drawn.values)):
        assert np.array_equal(whole.equity[:cut], again.equity[:cut])
        for one, two in zip(whole.tranches, again.tranches, strict=True):
            before = [table[table[:, kernel.F_ROW] < cut] for table in (one.fills, two.fills)]
            assert np.array_equal(*before)


def test_a_neutral_book_on_identical_symbols_earns_minus_its_costs() -> None:
    drawn = universe(3, 200, 10, gaps=0.0, silences=0.0, leaves=1.0, ends=0.0, lots=False, nulls=0.0, payments=0)
    same = {
        name: np.repeat(getattr(drawn.market, name)[:, :1], 10, axis=1) for name in ("open", "high", "low", "close")
    }
    result = run_book(replace(drawn.market, **same, _measured={}), BookRules(timedelta(hours=6)), drawn.values)
    costs = result.fills["fee"].sum() + result.fills["slippage"].sum()
    assert costs > 100.0
    assert result.equity[-1] == pytest.approx(result.capital - costs, rel=1e-9)


def test_one_symbol_with_weight_one_is_buy_and_hold_less_costs() -> None:
    drawn = universe(5, 200, 1, gaps=0.0, silences=0.0, leaves=1.0, ends=0.0, lots=False, payments=0)
    rules = BookRules(DAILY, given_weights=True, neutral="none", band=0.05)
    result = run_book(drawn.market, rules, np.ones((200, 1)))
    market, costs = drawn.market, Costs()
    first = int(market.rebalance_rows(DAILY)[0])
    quantity = result.capital / market.close[first, 0]
    price = market.open[first + 1, 0] * (1 + costs.slippage)
    held = result.capital - quantity * price * (1 + costs.taker_fee) + quantity * market.close[first + 1 :, 0]
    np.testing.assert_allclose(result.equity[first + 1 :], held, rtol=1e-12)
    assert (result.equity[: first + 1] == result.capital).all()
    assert result.fills.height == 1


def flat_market(closes: list[list[float]], **more: object) -> BookMarket:
    """Bars of one price each, on 2025-05-28 from 00:00 on."""
    close = np.array(closes)
    member = np.ones(close.shape, dtype=bool)
    given: dict[str, object] = {
        "open": close, "high": close, "low": close, "close": close, "quote_volume": np.full(close.shape, 1e6),
        "member": member, "funding": np.zeros(close.shape), "contracts": (Contract(),) * close.shape[1], **more,
    }  # fmt: skip
    symbols = tuple("ABCDEFGHIJ"[: close.shape[1]])
    return BookMarket(symbols, "60m", START + 3_600_000_000 * np.arange(len(close)), **given)  # type: ignore[arg-type]


def weights_of(result: BookResult) -> list[float]:
    return [round(float(weight), 6) for weight in result.tranches[0].weights[0]]


def held_by(scores: list[float], **rules: object) -> list[float]:
    market = flat_market([[100.0] * len(scores)] * 3)
    given = {"cap": 1.0, **rules}
    return weights_of(run_book(market, BookRules(DAILY, **given), np.array([scores] * 3)))  # type: ignore[arg-type]


def test_legs_counts_and_ties() -> None:
    assert held_by([5, 4, 3, 2, 1], long=0.2, short=0.2) == [0.5, 0, 0, 0, -0.5]
    assert held_by([5, 4, 3, 2], long=0.2, short=0.2) == [0, 0, 0, 0], "fewer than five are known"
    assert held_by([5, 5, 5, 2, 1], long=0.4, short=0.2) == [round(1 / 6, 6)] * 3 + [0, -0.5], "two places for three"
    assert held_by([5, 4, 3, 2, 1], long=1.0, short=0.2) == [0.25, 0.25, 0, 0, -0.5], "at most half of them"
    assert held_by([5, 4, 3, 2, 1], long=0.29, short=0.0, neutral="none") == [1.0, 0, 0, 0, 0]
    assert held_by([1, 1, 1, 1, 1, 1], long=0.5, short=0.5) == [0] * 6, "the same name in both legs is netted"


def test_sizes_and_the_cap() -> None:
    assert held_by([9, 4, 3, 2, 1], long=0.4, short=0.4, size="rank") == [0.333333, 0.166667, 0, -0.166667, -0.333333]
    assert held_by([9, 4, 3, 2, 1], long=0.4, short=0.4, size="score") == [0.428571, 0.071429, 0, -0.166667, -0.333333]
    capped = held_by([9, 4, 3, 2, 1], long=0.4, short=0.4, size="score", cap=0.3)
    assert capped == [0.3, 0.2, 0, -0.2, -0.3], "the excess goes to the rest of the leg"
    short = held_by([9, 4, 3, 2, 1], long=0.4, short=0.2, size="equal", cap=0.3)
    assert short == [0.15, 0.15, 0, 0, -0.3], "the other leg shrinks"
    assert held_by([9, 4, 3, 2, 1], long=0.4, short=0.2, cap=0.3, neutral="none") == [0.25, 0.25, 0, 0, -0.3]


def test_a_book_of_scores_that_are_all_equal_in_size_by_score_is_flat_where_it_must_balance() -> None:
    scores = [3.0, 3.0, 3.0, 3.0, 1.0]
    assert held_by(scores, long=0.2, short=0.2, size="score") == [0] * 5
    assert held_by(scores, long=0.2, short=0.2, size="score", neutral="none") == [0, 0, 0, 0, -0.5]


def test_what_is_held_stays_inside_the_buffer() -> None:
    market = flat_market([[100.0] * 10] * 50)
    scores = np.array([[10, 9, 8, 7, 6, 5, 4, 3, 2, 1]] * 24 + [[8.5, 9, 10, 7, 6, 5, 4, 3, 2, 1]] * 26, dtype=float)
    rules = BookRules(DAILY, long=0.2, short=0.2)
    without = run_book(market, rules, scores).tranches[0].weights
    with_buffer = run_book(market, replace(rules, keep=1.5), scores).tranches[0].weights
    assert [list(row[:3].round(3)) for row in without] == [[0.2, 0.2, 0], [0, 0.2, 0.2], [0, 0.2, 0.2]]
    assert [list(row[:3].round(3)) for row in with_buffer] == [[0.2, 0.2, 0]] * 3


def test_a_position_inside_the_band_is_left_alone() -> None:
    closes = [[100.0] * 5] * 24 + [[110.0, 100, 100, 100, 100]] * 27
    scores = np.array([[5.0, 4, 3, 2, 1]] * 51)
    rules = BookRules(DAILY, long=0.2, short=0.2)
    assert run_book(flat_market(closes), rules, scores).fills.height > 2
    assert run_book(flat_market(closes), replace(rules, band=0.2), scores).fills.height == 2


def test_lots_are_floored_and_small_orders_left_out_but_for_closing() -> None:
    def quantities(contract: Contract) -> list[float]:
        market = flat_market([[300.0] * 5] * 4, contracts=(contract,) * 5)
        rules = BookRules(timedelta(hours=1), long=0.2, short=0.2, band=0.2)
        result = run_book(market, rules, np.array([[5.0, 4, 3, 2, 1]] * 2 + [[np.nan] * 5] * 2), capital=1_000.0)
        return [round(quantity, 6) for quantity in result.fills["quantity"]]

    assert quantities(Contract()) == [0.666667, -0.666667, -0.666667, 0.666667]
    assert quantities(Contract(lot=0.25)) == [0.5, -0.5, -0.5, 0.5]
    assert quantities(Contract(lot=0.25, minimum=0.75)) == []


def test_funding_is_paid_on_what_was_held_before_the_fills_of_its_bar() -> None:
    funding = np.zeros((6, 5))
    funding[1] = 0.5  # the bar of the first fill: nothing was held before
    funding[3, 0] = 0.01
    market = flat_market([[100.0] * 5] * 6, funding=funding)
    result = run_book(market, BookRules(DAILY, long=0.2, short=0.2), np.array([[5.0, 4, 3, 2, 1]] * 6))
    assert result.trades["funding"].sum() == pytest.approx(0.01 * 2_000)


def test_a_leaver_is_closed_at_the_next_fillable_open() -> None:
    member = np.ones((12, 5), dtype=bool)
    member[4:, 0] = False
    opens = np.full((12, 5), 100.0)
    opens[5:8, 0] = np.nan
    market = flat_market(np.where(np.isnan(opens), np.nan, 100.0).tolist(), open=opens, member=member)
    result = run_book(market, BookRules(DAILY, long=0.2, short=0.2), np.array([[5.0, 4, 3, 2, 1]] * 12))
    trade = result.trades.row(0, named=True)
    assert (trade["symbol"], trade["reason"]) == ("A", "left")
    assert (trade["exit_ts"] - market.time_of(0)) == timedelta(hours=8)


@pytest.mark.parametrize(("known", "hours"), [(True, 20), (False, 10 + 72)])
def test_bars_that_end_are_closed_at_the_known_end_or_after_three_days(known: bool, hours: int) -> None:
    closes = np.full((100, 5), 100.0)
    closes[10:, 0] = np.nan
    end = flat_market(closes.tolist()).time_of(20)
    ends = (Contract(delisted=end, announced=end) if known else Contract(), *(Contract(),) * 4)
    market = flat_market(closes.tolist(), contracts=ends)
    scores = np.full((100, 5), np.nan)
    scores[0] = [5, 4, 3, 2, 1]
    rules = BookRules(timedelta(days=14), long=0.2, short=0.2)
    first = next(t for t in run_book(market, rules, scores).tranches if len(t.trades))
    whole = run_book(market, rules, scores)
    trade = whole.trades.filter(whole.trades["symbol"] == "A").row(0, named=True)
    assert len(first.trades) == 2
    assert trade["reason"] == "ended"
    assert (trade["exit_ts"] - market.time_of(0)) == timedelta(hours=hours)
    assert trade["exit_price"] == pytest.approx(100.0 * (1 - 10 * 0.0002))


def test_a_ruined_book_loses_everything_once() -> None:
    closes = [[100.0] * 5] * 3 + [[100.0, 100, 100, 100, 400.0]] * 5
    rules = BookRules(DAILY, long=0.2, short=0.2, gross=2.0, cap=1.0)
    result = run_book(flat_market(closes), rules, np.array([[5.0, 4, 3, 2, 1]] * 8))
    assert [round(r, 3) for r in result.returns] == [0, -0.002, 0, -1, 0, 0, 0, 0]
    assert result.shortfall == pytest.approx(10_000 * (3 - 1), rel=1e-2)
    assert set(result.trades["reason"]) == {"liquidation"}


def test_an_open_that_ruins_is_not_saved_by_the_close() -> None:
    opens = np.full((6, 5), 100.0)
    opens[4, 4] = 400.0
    market = flat_market([[100.0] * 5] * 6, open=opens, high=np.maximum(opens, 100.0))
    rules = BookRules(DAILY, long=0.2, short=0.2, gross=2.0, cap=1.0)
    result = run_book(market, rules, np.array([[5.0, 4, 3, 2, 1]] * 6))
    assert result.tranches[0].outcome[kernel.RUINED_AT] == 4
    assert result.equity[3] > 9_900.0
    assert result.equity[4:].tolist() == [0.0, 0.0]


def test_the_bound_takes_all_adverse_extremes_at_once() -> None:
    closes = [[100.0] * 5] * 4
    lows = [[90.0] * 5] * 4
    highs = [[110.0] * 5] * 4
    market = flat_market(closes, low=np.array(lows), high=np.array(highs))
    result = run_book(
        market, BookRules(DAILY, long=0.2, short=0.2), np.array([[5.0, 4, 3, 2, 1]] * 4), costs=Costs.free()
    )
    assert result.adverse.tolist() == pytest.approx([10_000, 9_600, 9_600, 9_600])
    assert result.equity.tolist() == [10_000] * 4


def test_a_score_from_before_a_silence_counts_for_one_rebalance() -> None:
    closes = np.full((60, 5), 100.0)
    closes[3:, 0] = np.nan  # silent from 03:00 on
    scores = np.array([[5.0, 4, 3, 2, 1]] * 60)
    market = flat_market(closes.tolist())
    rules = BookRules(DAILY, long=0.2, short=0.2)
    known = run_book(market, rules, scores).decisions["known"].to_list()
    assert known == [5, 5, 4], "at 00:00 of the next day its score is 22 hours old, then 46"


def test_slower_than_a_day_is_one_tranche_a_day() -> None:
    drawn = calm_universe(1, bars=400)
    result = book_of(drawn, BookRules(timedelta(days=7)))
    assert len(result.tranches) == 7
    for day, tranche in enumerate(result.tranches):
        times = result.market.ts[tranche.decisions[:, kernel.D_ROW].astype(int)]
        assert {int(t) % (7 * 86_400_000_000) for t in times} == {((4 + day) % 7) * 86_400_000_000}
        assert tranche.capital == pytest.approx(result.capital / 7)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"rebalance": timedelta(hours=5)}, "divisor of a day"),
        ({"rebalance": timedelta(hours=36)}, "divisor of a day"),
        ({"long": 1.5}, "long is 1.5"),
        ({"size": "half"}, "size is 'half'"),
        ({"keep": 0.5}, "keep is 0.5"),
        ({"short": 0.0}, "would be flat"),
        ({"long": 0.0, "short": 0.0, "neutral": "none"}, "would hold nothing"),
    ],
)
def test_rules_that_make_no_sense_are_refused(fault: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BookRules(**{"rebalance": DAILY, **fault})  # type: ignore[arg-type]


def test_a_book_that_cannot_run_says_why() -> None:
    market = flat_market([[100.0] * 5] * 4)
    values = np.zeros((4, 5))
    for more, message in (
        ({"begin": 4}, "begins at row 4"),
        ({"capital": 0.0}, "capital is 0"),
    ):
        with pytest.raises(ValueError, match=message):
            run_book(market, BookRules(DAILY), values, **more)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="shape"):
        run_book(market, BookRules(DAILY), values[:2])
