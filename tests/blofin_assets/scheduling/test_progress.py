"""What has been done, read from the warehouse: as it is at each question, or at one look."""

from dataclasses import replace

from support.platform import AS_OF, Platform

from blofin_assets.shared.cadences import CADENCES, ML_CYCLE
from blofin_assets.shared.vocabulary import CycleState


def test_one_look_keeps_its_answers_and_whoever_writes_asks_again(platform: Platform) -> None:
    cadence = next(each for each in CADENCES if each.job == ML_CYCLE)
    look = replace(platform.progress, one_look=True)
    before = (look.given_up(ML_CYCLE), look.succeeded(ML_CYCLE), look.market_due())
    assert before == (frozenset(), frozenset(), None)
    platform.progress.mark([cadence.step(AS_OF)], CycleState.SKIPPED, "test")
    assert platform.progress.given_up(ML_CYCLE) == {AS_OF}
    assert platform.progress.done(ML_CYCLE) == {AS_OF}
    assert (look.given_up(ML_CYCLE), look.succeeded(ML_CYCLE), look.market_due()) == before
    assert replace(look).given_up(ML_CYCLE) == {AS_OF}, "another look is a new one"
