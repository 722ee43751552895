"""Credentials of a client of Claude: a key, and a login if the address has one.

Belongs here: splitting an address, the headers that carry the login. Does not belong here: where both come from
(`blofin_resources.settings`), finding secrets in text (`blofin_resources.secrets`).
"""

from base64 import b64encode
from urllib.parse import unquote, urlsplit, urlunsplit

from pydantic import SecretStr

from blofin_resources.secrets import Redactor


class Credentials:
    """The key of one client, and the login in its address, if any.

    Parameters
    ----------
    key : SecretStr or None
        Key for Claude.
    base_url : str or None
        Address of the API; may hold a login, `https://user:password@host`.

    Attributes
    ----------
    address : str or None
        The address without its login, which HTTP clients would otherwise log.
    """

    def __init__(self, key: SecretStr | None, base_url: str | None) -> None:
        given = key.get_secret_value().strip() if key is not None else ""
        self.key = SecretStr(given) if given else None
        self.address, login = _split_login(base_url)
        self._login = SecretStr(login)
        self._redactor = Redactor([given, login.partition(":")[2], b64encode(login.encode()).decode()])

    def __repr__(self) -> str:
        return f"Credentials(key={'set' if self.key else 'none'}, address={self.address!r})"

    @property
    def sendable(self) -> bool:
        """Whether the key fits into a header; an HTTP client would quote one that does not in its error."""
        given = self.key.get_secret_value() if self.key is not None else ""
        return given.isascii() and given.isprintable()

    def headers(self) -> dict[str, str]:
        """Return headers for an address with a login, which displaces the header that the SDK uses for the key."""
        login = self._login.get_secret_value()
        if not login or self.key is None:
            return {}
        basic = b64encode(login.encode()).decode()
        return {"Authorization": f"Basic {basic}", "x-api-key": self.key.get_secret_value()}

    def hide(self, text: str) -> str:
        """Replace all secrets, and anything that looks like a key, in a text."""
        return self._redactor.hide(text)


def _split_login(base_url: str | None) -> tuple[str | None, str]:
    if base_url is None:
        return None, ""
    parts = urlsplit(base_url)
    login, _, place = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=place)), unquote(login)
