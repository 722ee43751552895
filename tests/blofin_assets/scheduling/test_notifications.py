"""Failures told elsewhere: each once, none lost while nobody listens, nothing of the past when it is turned on."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from support.platform import Platform, platforms
from support.webhook import Webhook

from blofin_assets.scheduling.notifications import LOOK_BACK, notify_failures, unreported
from blofin_resources.dagster_resources import NotifierResource

pytestmark = pytest.mark.slow


@dg.asset
def broken() -> None:
    """An asset that fails."""
    msg = "the disk is full"
    raise dg.Failure(msg)


@dg.asset
def fine() -> None:
    """An asset whose checks fail."""


@dg.asset_check(asset=fine)
def wrong() -> dg.AssetCheckResult:
    """An error each time."""
    return dg.AssetCheckResult(passed=False, description="it is wrong")


@dg.asset_check(asset=fine)
def odd() -> dg.AssetCheckResult:
    """A warning each time."""
    return dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN, description="it is odd")


DEFS = dg.Definitions(assets=[broken, fine], asset_checks=[wrong, odd])


@pytest.fixture
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with platforms(tmp_path_factory.mktemp("told")) as make:
        yield make()


def run(platform: Platform, *names: str) -> None:
    job = DEFS.resolve_implicit_global_asset_job_def().get_subset(asset_selection={dg.AssetKey(name) for name in names})
    job.execute_in_process(instance=platform.instance, raise_on_error=False)


def look(platform: Platform, cursor: str | None) -> tuple[str, str | None]:
    """Evaluate the sensor; return what it says and its cursor."""
    with dg.build_sensor_context(
        instance=platform.instance,
        cursor=cursor,
        repository_def=DEFS.get_repository_def(),
        resources={"notifier": NotifierResource(ui_url="http://ui")},
    ) as context:
        result = notify_failures.evaluate_tick(context)
    return result.skip_message or "", result.cursor


def test_each_failure_is_told_once_and_again_only_if_it_comes_again(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Webhook() as hook:
        monkeypatch.setenv("BLOFIN_NOTIFY_URL", hook.url)
        _, cursor = look(platform, None)
        assert hook.got == []
        run(platform, "broken")
        run(platform, "fine")
        _, cursor = look(platform, cursor)
        (message,) = hook.got
        assert message["title"] == "Blofin research: 1 failed run, 2 failed checks"
        told = {item["name"].partition(" of ")[0]: item for item in message["items"]}
        assert told["run"]["detail"] == "broken: the disk is full"
        assert told["run"]["link"].startswith("http://ui/runs/")
        assert told["check wrong"]["link"] == "http://ui/assets/fine?view=checks&checkDetail=wrong"
        _, cursor = look(platform, cursor)
        assert len(hook.got) == 1
        run(platform, "fine")
        look(platform, cursor)
        assert [item["name"] for item in hook.got[1]["items"]] == ["check wrong of fine"]


def test_nothing_is_lost_while_the_receiver_is_away(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    with Webhook(status=500) as hook:
        monkeypatch.setenv("BLOFIN_NOTIFY_URL", hook.url)
        run(platform, "broken")
        said, cursor = look(platform, None)
        assert said == "the notifier answered HTTP 500; 1 failures wait to be sent"
        hook.status = 200
        _, cursor = look(platform, cursor)
        look(platform, cursor)
        assert [len(message["items"]) for message in hook.got] == [1, 1]


def test_off_it_says_so_and_turned_on_later_it_tells_nothing_old(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(platform, "broken")
    said, cursor = look(platform, json.dumps({"run:x": 1.0}))
    assert "BLOFIN_NOTIFY_URL" in said
    assert not cursor
    with Webhook() as hook:
        monkeypatch.setenv("BLOFIN_NOTIFY_URL", hook.url)
        monkeypatch.setattr("blofin_assets.scheduling.notifications.FIRST_LOOK", timedelta(0))
        look(platform, cursor)
    assert hook.got == []


def test_what_was_told_is_forgotten_when_it_is_too_old_to_be_found(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC)
    old, late = (now - LOOK_BACK - timedelta(hours=1)).timestamp(), (now - timedelta(hours=1)).timestamp()
    with Webhook() as hook:
        monkeypatch.setenv("BLOFIN_NOTIFY_URL", hook.url)
        _, cursor = look(platform, json.dumps({"old": old, "late": late}))
    assert json.loads(cursor or "") == {"late": late}
    assert unreported([], {}) == []
