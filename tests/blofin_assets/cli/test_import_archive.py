"""`blofin import-archive`: what it understood, what it wrote, and what it refused."""

import json
from pathlib import Path

from typer.testing import CliRunner

from blofin_assets.cli.main import app

BAR = [1704067200000, 1.0, 2.0, 0.5, 1.5, 10.0]


def test_it_shows_what_it_found_and_writes_unless_told_not_to(tmp_path: Path) -> None:
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    theirs.mkdir()
    (theirs / "BTC_USDT_USDT-1h-futures.json").write_text(json.dumps([BAR]))
    (theirs / "notes.txt").write_text("mine")
    command = ["import-archive", str(theirs), "--to", str(ours)]
    shown = CliRunner().invoke(app, [*command, "--dry-run"])
    assert "nothing was written" in shown.output
    assert not ours.exists()
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0
    assert "BTC-USDT_60m" in done.output
    assert "notes.txt: not named like" in done.output
    assert [path.name for path in ours.iterdir()] == ["BTC-USDT_60m.parquet"]
    (theirs / "ETH_USDT-1h.json").write_text(json.dumps([[*BAR[:2], 0.1, *BAR[3:]]]))
    refused = CliRunner().invoke(app, command)
    assert "ETH_USDT-1h.json: row 1, 2024-01-01T00:00:00Z: high or low inside the bar" in refused.output
    assert "1 of 2 files of the archive were refused" in str(refused.exception)


def test_a_step_and_funding_that_ends_early_are_told_with_their_file_and_what_to_do(tmp_path: Path) -> None:
    day, theirs = 86_400_000, tmp_path / "theirs"
    theirs.mkdir()
    bars = [[BAR[0] + k * day, *(price * (1000 if k > 5 else 1) for price in BAR[1:5]), 10.0] for k in range(9)]
    (theirs / "BTC_USDT_USDT-1d-futures.json").write_text(json.dumps(bars))
    paid = [[BAR[0] + k * day, 1e-4, 0, 0, 0, 0] for k in range(4)]
    (theirs / "BTC_USDT_USDT-8h-funding_rate.json").write_text(json.dumps(paid))
    done = CliRunner().invoke(app, ["import-archive", str(theirs), "--to", str(tmp_path / "ours")])
    assert done.exit_code == 0
    assert "BTC-USDT_1d: BTC-USDT steps by 666.667 : 1 at 2024-01-07T00:00Z: a real move, or a change of units?" in (
        done.output
    )
    assert "blofin step BTC-USDT 2024-01-07T00:00Z real (or units)" in done.output
    assert (
        "BTC-USDT_funding ends at 2024-01-04, 5 days before the candles: what was paid later is unknown" in done.output
    )
    assert f"to use it: BLOFIN_MARKET=archive BLOFIN_ARCHIVE={tmp_path / 'ours'} blofin run" in done.output


def test_an_option_that_is_no_pair_is_one_line(tmp_path: Path) -> None:
    answer = CliRunner().invoke(app, ["import-archive", str(tmp_path), "--to", str(tmp_path), "--columns", "ts"])
    assert "--columns 'ts' is not a pair" in str(answer.exception)
    answer = CliRunner().invoke(app, ["import-archive", str(tmp_path), "--to", str(tmp_path), "--columns", "opne=x"])
    assert "--columns: 'opne' is not a column of an archive; there are ts, open, high" in str(answer.exception)
