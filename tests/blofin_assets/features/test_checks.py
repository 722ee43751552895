"""The checks of stored features fail on what they are for."""

from datetime import timedelta

import dagster as dg
import polars as pl
import pytest
from support.platform import AS_OF, Platform

from blofin_assets.scheduling.runner import CONSOLE
from blofin_assets.shared.cadences import MARKET_DATA

END = AS_OF - timedelta(days=10)
DAY = "2026-03-02"


def outcome(platform: Platform) -> dict[str, bool]:
    """Run the feature checks alone over the last day and return what they say."""
    keys = [dg.AssetKey(name) for name in ("features_1m", "features_5m", "features_60m")]
    job = dg.define_asset_job("only_checks", selection=dg.AssetSelection.checks_for_assets(*keys))
    defs = dg.Definitions.merge(platform.defs, dg.Definitions(jobs=[job]))
    result = defs.resolve_job_def("only_checks").execute_in_process(
        instance=platform.instance, tags={"dagster/partition": DAY}, run_config=CONSOLE, raise_on_error=False
    )
    return {found.asset_key.to_user_string(): found.passed for found in result.get_asset_check_evaluations()}


@pytest.mark.slow
def test_sound_features_pass_and_each_fault_is_found(platform: Platform) -> None:
    platform.run(END, (MARKET_DATA,))
    assert outcome(platform) == {"features_1m": True, "features_5m": True, "features_60m": True}
    rows = platform.warehouse.read("SELECT * FROM features.features_5m ORDER BY symbol, ts")
    last = rows["ts"].max()
    for changed in (pl.lit(500.0), pl.col("rsi_14") + 1e-9):
        faulty = rows.with_columns(pl.when(pl.col("ts") == last).then(changed).otherwise("rsi_14").alias("rsi_14"))
        with platform.warehouse.transaction("fault") as tx:
            tx.replace("features.features_5m", faulty.drop("run_id"), symbol=list(platform.settings.symbols))
        assert outcome(platform) == {"features_1m": True, "features_5m": False, "features_60m": True}


@pytest.mark.parametrize("timeframe", ["1m", "60m"])
def test_stored_features_carry_the_hash_of_their_definitions(done: Platform, timeframe: str) -> None:
    hashes = done.warehouse.read(f"SELECT DISTINCT definitions_hash FROM features.features_{timeframe}")
    spec = done.defs.resolve_asset_graph().get(dg.AssetKey(f"features_{timeframe}"))
    assert hashes["definitions_hash"].to_list() == [spec.code_version]
