"""Every error that a user can meet, as one family with a clear line of text.

Belongs here: the classes. Does not belong here: messages, which are written where the thing that failed is known.
The `blofin` command and the assets print a `BlofinError` as its text alone, without a traceback.
"""


class BlofinError(Exception):
    """Something a user can put right: the text names the thing, the value and the way out, in one line."""


class SettingsError(BlofinError):
    """A setting of the environment or `.env` cannot be used as it stands."""


class WarehouseError(BlofinError):
    """The warehouse cannot be opened, belongs to another market, or refuses what was to be written."""


class MarketError(BlofinError):
    """A market source cannot give what was asked: unknown symbol, unreadable file, failed exchange, bad data."""
