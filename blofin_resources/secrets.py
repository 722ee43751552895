"""Secrets: which settings are some, and keeping them out of everything that is stored, sent or shown.

Belongs here: the one redactor, for keys, webhooks and catalogs. Does not belong here: where secrets come from
(`blofin_resources.settings`), how they are used.
"""

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, unquote

from blofin_resources.settings import Settings

HIDDEN: Final = "[secret]"
"""What stands in a text where a secret stood."""

_KEY_LIKE: Final = re.compile(r"sk-ant-[A-Za-z0-9_-]+")

_PASSWORD: Final = re.compile(r"password=(?P<password>'[^']*'|\S+)|//[^/@:\s]*:(?P<login>[^/@\s]+)@")
"""Where a password stands in a catalog's connection string and in an address."""


class Redactor:
    """Takes secrets out of text, and whatever looks like a key of Claude.

    Parameters
    ----------
    secrets : iterable of str
        Each is found as it is, and quoted or unquoted as in an address; empty ones are passed over.

    Examples
    --------
    >>> Redactor(["p@ss"]).hide("password p@ss, or p%40ss, or sk-ant-1")
    'password [secret], or [secret], or [secret]'
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for text in secrets for form in (text, quote(text), quote(text, safe=""), unquote(text))}
        self._forms = sorted(filter(None, forms), key=len, reverse=True)

    def __repr__(self) -> str:
        return "Redactor()"

    def hide(self, text: str) -> str:
        """Return the text with `HIDDEN` in place of each secret, the longest first."""
        for secret in self._forms:
            text = text.replace(secret, HIDDEN)
        return _KEY_LIKE.sub(HIDDEN, text)


def secrets_of(settings: Settings) -> list[str]:
    """Return every secret text among the settings."""
    kept = [settings.anthropic_api_key, settings.notify_url]
    found = [secret.get_secret_value() for secret in kept if secret is not None]
    logins = [text for text in (settings.catalog, settings.anthropic_base_url) if text]
    return [*found, *((m["password"] or m["login"]).strip("'") for text in logins for m in _PASSWORD.finditer(text))]
