"""Every error that a user can meet, as one family with a clear line of text.

Belongs here: the classes. Does not belong here: messages, which are written where the thing that failed is known.
The `blofin` command and the assets print a `BlofinError` as its text alone, without a traceback.
"""

from blofin_resources.texts import for_terminal


class BlofinError(Exception):
    """Something a user can put right: the text names the thing, the value and the way out, in one line.

    Such a text repeats values of data, files and servers, and is shown in terminals and logs: it is made safe for them.
    """

    def __init__(self, text: str = "") -> None:
        super().__init__(for_terminal(text))


class SettingsError(BlofinError):
    """A setting of the environment or `.env` cannot be used as it stands."""


class WarehouseError(BlofinError):
    """The warehouse cannot be opened, belongs to another market, or refuses what was to be written."""


class MarketError(BlofinError):
    """A market source cannot give what was asked: unknown symbol, unreadable file, failed exchange, bad data."""
