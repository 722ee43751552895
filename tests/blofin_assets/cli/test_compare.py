"""`blofin compare` as a user meets it."""

import json
from dataclasses import replace

import pytest
from support.platform import AS_OF, Platform

from blofin_assets.cli.compare import Compared, run_compare
from blofin_assets.cli.stored import Span
from blofin_resources.errors import BlofinError

pytestmark = pytest.mark.slow

ASKED = Compared(["ema_crossover", "ema_crossover:fast=20"], None, "60m", Span(AS_OF, days=10))


def test_versions_of_one_strategy_are_told_apart_or_not_and_each_is_a_trial(
    here: Platform, capsys: pytest.CaptureFixture[str]
) -> None:
    run_compare(ASKED)
    shown = capsys.readouterr().out
    assert "ema_crossover less ema_crossover:fast=20:" in shown
    assert "told apart; correlation" in shown
    [page] = (here.settings.warehouse / "backtests").glob("compare_*.html")
    assert "fast 20, ratio 3, stop_width 3" in page.read_text(encoding="utf-8")
    tried = here.warehouse.read("SELECT count(DISTINCT version) FROM research.trials WHERE author = 'user'").item()
    assert tried == 2
    run_compare(replace(ASKED, as_json=True))
    document = json.loads(capsys.readouterr().out)
    assert document["names"] == ["ema_crossover", "ema_crossover:fast=20"]
    assert len(document["differences"]) == 1


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"named": ["ema_crossover"]}, ("1 named", "give 2 to 8")),
        ({"named": ["ema_crossover", "ema_crossover"]}, ("ema_crossover is named twice",)),
        ({"named": ["ema_crossover", "ema_crossover:fst=2"]}, ("no parameter fst", "did you mean fast?")),
        ({"named": ["ema_crossover", "ema_crossover:fast=99"]}, ("fast = 99", "range 5 to 30")),
        ({"named": ["ema_crossover", "funding_carry"]}, ("funding_carry is a book",)),
        ({"named": ["ema_crossover", "nothing_here"]}, ("no strategy or book 'nothing_here'",)),
        ({"span": Span(AS_OF, days=1)}, ("fewer than two days",)),
    ],
)
def test_what_is_wrong_is_named(changed: dict[str, object], words: tuple[str, ...]) -> None:
    with pytest.raises((BlofinError, ValueError)) as error:
        run_compare(replace(ASKED, **changed))
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)
