"""Keys and passwords, and keeping them out of everything that is stored or shown.

Belongs here: finding secrets in text. Does not belong here: where they come from (`blofin_resources.settings`).
"""

import re
from base64 import b64encode
from typing import Final
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from pydantic import SecretStr

_KEY_LIKE: Final = re.compile(r"sk-ant-[A-Za-z0-9_-]+")

HIDDEN: Final = "[secret]"
"""What stands in a text where a secret stood."""


class Secrets:
    """The key of one client, and the login in its address, if any.

    Parameters
    ----------
    key : SecretStr or None
        Key for Claude.
    base_url : str or None
        Where Claude is called; may hold a login, `https://user:password@host`.

    Attributes
    ----------
    address : str or None
        The address without its login, which HTTP clients would otherwise write into their logs.
    """

    def __init__(self, key: SecretStr | None, base_url: str | None) -> None:
        given = key.get_secret_value().strip() if key is not None else ""
        self.key = SecretStr(given) if given else None
        self.address, login = _split_login(base_url)
        self._login = SecretStr(login)

    def __repr__(self) -> str:
        return f"Secrets(key={'set' if self.key else 'none'}, address={self.address!r})"

    @property
    def sendable(self) -> bool:
        """Whether the key fits into a header; an HTTP client would write one that does not into its error."""
        given = self.key.get_secret_value() if self.key is not None else ""
        return given.isascii() and given.isprintable()

    def headers(self) -> dict[str, str]:
        """Return headers for an address with a login, which takes the place that the SDK gives to the key."""
        login = self._login.get_secret_value()
        if not login or self.key is None:
            return {}
        basic = b64encode(login.encode()).decode()
        return {"Authorization": f"Basic {basic}", "x-api-key": self.key.get_secret_value()}

    def hide(self, text: str) -> str:
        """Return the text without any of the secrets, or anything that looks like a key."""
        for secret in self._texts():
            text = text.replace(secret, HIDDEN)
        return _KEY_LIKE.sub(HIDDEN, text)

    def _texts(self) -> list[str]:
        """Return every form in which a secret may come back, the longest first."""
        login = self._login.get_secret_value()
        password = login.partition(":")[2]
        found = {password, quote(password), b64encode(login.encode()).decode() if login else ""}
        if self.key is not None:
            found.add(self.key.get_secret_value())
        return sorted(filter(None, found), key=len, reverse=True)


def _split_login(base_url: str | None) -> tuple[str | None, str]:
    if base_url is None:
        return None, ""
    parts = urlsplit(base_url)
    login, _, place = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=place)), unquote(login)
