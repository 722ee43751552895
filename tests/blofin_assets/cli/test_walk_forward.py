"""`blofin walk-forward` as a user meets it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from support.pages import fits
from support.platform import AS_OF, Platform

from blofin_assets.cli.stored import Span
from blofin_assets.cli.walk_forward import Request, run_walk
from blofin_resources.errors import BlofinError

pytestmark = pytest.mark.slow

ASKED = Request("ema_crossover", "6d", "3d", False, 3, [], None, "60m", Span(AS_OF))


def test_windows_are_those_asked_for_and_every_version_is_a_trial_of_its_window(
    here: Platform, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run_walk(ASKED)
    shown = capsys.readouterr().out
    assert "of 2 tests gained" in shown
    assert "Chosen versions earned" in shown
    [page] = (here.settings.warehouse / "backtests").glob("ema_crossover_walk_*.html")
    text = page.read_text(encoding="utf-8")
    fits(text, tmp_path)
    assert "train 6d, test 3d, rolling, 3 evaluations a window" in text
    assert text.count("<svg") == 2
    windows = here.warehouse.read(
        "SELECT window_start, window_end, count(*) AS tried FROM research.trials WHERE author = 'user' "
        "GROUP BY ALL ORDER BY 1, 2"
    ).rows()
    days = [(start.day, end.day) for start, end, _ in windows]
    assert days == [(1, 7), (4, 10), (7, 10), (10, 13)]
    assert [tried for _, _, tried in windows][:2] == [3, 3]
    run_walk(replace(ASKED, as_json=True))
    document = json.loads(capsys.readouterr().out)
    assert [each["train_start"][:10] for each in document["windows"]] == ["2026-03-01", "2026-03-04"]
    assert [each["start"][:10] for each in document["windows"]] == ["2026-03-07", "2026-03-10"]
    assert document["joined_pct"] == pytest.approx(sum(each["test_pct"] for each in document["windows"]))
    assert document["written_pct"] == pytest.approx(sum(each["written_pct"] for each in document["windows"]))
    assert set(document["windows"][0]["parameters"]) == set(document["parameters"])
    run_walk(replace(ASKED, anchored=True))
    starts = here.warehouse.read(
        "SELECT DISTINCT window_start, window_end FROM research.trials WHERE author = 'user' ORDER BY 1, 2"
    ).rows()
    assert (1, 10) in {(start.day, end.day) for start, end in starts}, "anchored: trained on all before the test"


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"train": "90d", "test": "30d"}, ("need 120.0 days", "there are 12.0 days of BTC-USDT, ETH-USDT")),
        ({"train": "3"}, ("--train '3' is not a length of time", "90d")),
        ({"test": "0d"}, ("--test '0d' is not a length of time",)),
        ({"params": ["fst=1"]}, ("no parameter fst", "fast")),
        ({"strategy": "funding_carry"}, ("--timeframes", "funding_carry is a book")),
        ({"strategy": "funding_carry", "timeframes": None, "train": "9d"}, ("no deep history",)),
        ({"span": Span(AS_OF, start=AS_OF.replace(year=2020))}, ("--start 2020", "begin at 2026-03-01")),
    ],
)
def test_what_is_wrong_is_named(changed: dict[str, object], words: tuple[str, ...]) -> None:
    with pytest.raises((BlofinError, ValueError)) as error:
        run_walk(replace(ASKED, **changed))
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)
