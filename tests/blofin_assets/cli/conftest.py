"""Platforms that commands find as a user's: one after a pass, one with deep history."""

import signal
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from support.command import found_by_commands
from support.platform import Platform, platforms
from support.sample_universe import store_universe


@pytest.fixture
def here(done: Platform, monkeypatch: pytest.MonkeyPatch) -> Platform:
    """The module's platform, in the environment of the command, with a terminal of 80 columns."""
    found_by_commands(done, monkeypatch)
    return done


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let Ctrl-C interrupt, as in a terminal: programs in the background of a shell's script ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A warehouse with six weeks of the universe's hours."""
    with platforms(tmp_path_factory.mktemp("deep")) as make:
        platform = make(universe="top:8", market="sample:edge")
        store_universe(platform.warehouse, datetime(2026, 2, 1, tzinfo=UTC), "edge")
        yield platform
