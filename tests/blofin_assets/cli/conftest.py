"""A platform after one pass that commands find as a user's."""

import signal
from collections.abc import Iterator

import pytest
from support.command import found_by_commands
from support.platform import Platform


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
