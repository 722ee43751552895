"""Names, groups, errors that help, and fingerprints that mean something."""

import subprocess
import sys

import polars as pl
import pytest

from features import STANDARD_SET, Registry, definition_hash, definitions_hash, feature, standard_registry, warmup_bars
from features.definition import GROUPS, Definition, ema_warmup
from features.docs import PAGE, page
from features.loading import WARMUP_TOLERANCE, warmup_error
from features.market import Market, example_market

ASKED_FOR = {
    "price": "close open high low returns log_returns hl2 hlc3",
    "volume": "volume volume_sma_20 volume_ema_9 volume_ratio",
    "momentum": "rsi_14 rsi_7 momentum_10 rate_of_change_12",
    "trend": "ema_9 ema_21 sma_50 sma_200 trend_direction",
    "volatility": "atr_14 std_dev_20 bbands_width keltner_width",
    "macd": "macd_12_26 macd_signal_9 macd_histogram",
    "oscillators": "stoch_k stoch_d cci_20 williams_r",
    "volume_weighted": "vwap volume_weighted_momentum",
    "regime": "is_trending_up is_ranging volatility_regime",
}


@pytest.mark.parametrize("group", ASKED_FOR)
def test_every_example_of_the_request_exists_under_its_name(group: str) -> None:
    for name in ASKED_FOR[group].split():
        assert standard_registry().feature(name).definition.group == group
        assert name in STANDARD_SET
        assert name in standard_registry().group(group)


def test_size_of_the_library() -> None:
    assert len(STANDARD_SET) >= 70
    assert len(set(STANDARD_SET)) == len(STANDARD_SET)
    assert {definition.group for definition in standard_registry()} == set(GROUPS)
    assert standard_registry().feature("macd_signal").params == (9,)


@pytest.mark.parametrize("definition", tuple(standard_registry()), ids=lambda known: known.pattern)
def test_every_feature_is_described(definition: Definition) -> None:
    assert definition.description.endswith((".", ")"))
    assert definition.unit
    assert standard_registry().feature(definition.example).definition is definition
    for name in definition.standard:
        assert standard_registry().feature(name).definition is definition


def test_booleans_are_boolean_columns() -> None:
    for name in STANDARD_SET:
        dtype = standard_registry().feature(name).definition.dtype
        assert (dtype == pl.Boolean) == name.startswith("is_"), name
        assert dtype in (pl.Boolean, pl.Int8, pl.Float64), name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rsi_l4", "nearest: rsi_14"),
        ("bband_width", "nearest: bbands_width"),
        ("RSI_14", "unknown feature"),
        ("rsi_014", "unknown feature"),
        ("qqqqqqqq", "list_available_features"),
        ("7m:rsi_14", "'7m' is neither a symbol nor a timeframe"),
        ("60m:5m:close", "'5m' is neither"),
        ("60m:BTC-USDT:close", "write 60m:close, BTC-USDT:close or BTC-USDT:60m:close"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(name: str, message: str) -> None:
    with pytest.raises(LookupError, match=message):
        standard_registry().request(name)


@pytest.mark.parametrize(
    ("name", "message"), [("rsi_1", "2 to 10000"), ("sma_20000", "2 to 10000; for example sma_20")]
)
def test_bad_parameters_are_refused_with_the_range(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        standard_registry().feature(name)


def test_lengths_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(ValueError, match=r"macd_26_12.*must be below the slow length"):
        warmup_bars(["macd_26_12"], "1m")


def test_a_string_is_no_list_of_names() -> None:
    with pytest.raises(TypeError, match="list of names"):
        standard_registry().requests("close")


def test_two_features_cannot_share_a_name() -> None:
    @feature("rsi", unit="any", warmup=0)
    def rsi() -> pl.Expr:
        """Take a bare name that is taken."""
        return pl.col("close")

    with pytest.raises(ValueError, match="two features are called 'rsi'"):
        standard_registry().extended([rsi])


def test_a_feature_that_reads_itself_is_refused() -> None:
    @feature("ring", unit="any", warmup=0)
    def ring() -> pl.Expr:
        """Read itself."""
        return pl.col("ring") + 1

    with pytest.raises((ValueError, RecursionError)):
        Registry([ring]).warmup(Registry([ring]).request("ring"), "1m")


def test_unknown_group_lists_the_groups() -> None:
    with pytest.raises(LookupError, match="price, volume"):
        standard_registry().group("moments")
    assert standard_registry().group("Volume Weighted") == standard_registry().group("volume_weighted")
    assert standard_registry().group("MACD") == standard_registry().group("macd")


def test_warmup_counts_what_a_feature_reads() -> None:
    assert warmup_bars(["close"], "1m") == 0
    assert warmup_bars(["returns"], "1m") == 1
    assert warmup_bars(["sma_200", "rsi_14"], "1m") == warmup_bars(["rsi_14"], "1m")
    assert warmup_bars(["ema_9"], "1m") == ema_warmup(9)
    assert warmup_bars(["60m:ema_9"], "5m") == 12 * (ema_warmup(9) + 1)
    assert warmup_bars(["vwap"], "1m") == 1440
    assert warmup_bars(["vwap"], "60m") == 24
    assert warmup_bars([], "1m") == 0


@pytest.fixture(scope="module")
def market() -> Market:
    return example_market(4000)


@pytest.mark.parametrize("definition", tuple(standard_registry()), ids=lambda known: known.pattern)
def test_stated_warmup_suffices(definition: Definition, market: Market) -> None:
    for name in {definition.example, *definition.standard}:
        assert warmup_error(name, market, "1m", places=4) < WARMUP_TOLERANCE, name


def test_a_warmup_that_is_too_short_is_seen(market: Market) -> None:
    @feature("hasty", unit="quote", warmup=30)
    def hasty() -> pl.Expr:
        """Smooth for longer than stated."""
        return pl.col("close").ewm_mean(span=30, adjust=False)

    registry = standard_registry().extended([hasty])
    assert warmup_error("hasty", market, "1m", registry) > WARMUP_TOLERANCE


def test_hashes_are_equal_in_another_process() -> None:
    code = "import features; print(features.definitions_hash(), features.definition_hash('adx_14'))"
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert there.stdout.split() == [definitions_hash(), definition_hash("adx_14")]


def test_hashes_tell_definitions_apart() -> None:
    assert definition_hash("rsi_14") != definition_hash("rsi_7")
    assert definition_hash("60m:rsi_14") != definition_hash("rsi_14")
    assert definitions_hash(["rsi_14", "ema_9"]) == definitions_hash(["ema_9", "rsi_14"])
    assert len({definition_hash(name) for name in STANDARD_SET}) == len(STANDARD_SET)


def test_hash_follows_formula_constant_and_what_is_read() -> None:
    def variant(factor: float, *, reads: str = "close", text: str = "One.") -> str:
        def build() -> pl.Expr:
            return pl.col(reads) * factor

        build.__doc__ = text
        made = feature("variant", unit="any", warmup=0)(build)
        return standard_registry().extended([made]).hash("variant")

    assert variant(2.0) == variant(2.0, text="Another description.")
    assert variant(2.0) != variant(3.0)
    assert variant(2.0) != variant(2.0, reads="rsi_14")
    assert variant(2.0, reads="rsi_14") != variant(2.0, reads="rsi_7")


def test_hash_follows_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    from features import kernels  # noqa: PLC0415 - patched

    before = definition_hash("sma_20"), definition_hash("rsi_14"), definition_hash("bbands_width")
    monkeypatch.setattr(kernels, "BLOCK", 128)  # a constant that moving sums read
    after = definition_hash("sma_20"), definition_hash("rsi_14"), definition_hash("bbands_width")
    assert [was == now for was, now in zip(before, after, strict=True)] == [False, True, False]


def test_the_page_of_features_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m features.docs"
