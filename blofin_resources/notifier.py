"""Notify people of failures: one HTTP POST to a webhook.

Belongs here: the message format of each receiver, sending it within a time bound, keeping secrets out of it. Does
not belong here: which failures are reported and when (`blofin_assets.scheduling.notifications`).

The address of a webhook is its password. It is read from the environment and appears on no page and in no text from
here: errors are worded by this module, never by the HTTP client, which quotes the address. For the same reason no
library of receivers sends the messages.
"""

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, Self
from urllib.parse import urlsplit

import httpx
from pydantic import SecretStr

from blofin_resources.secrets import Redactor, secrets_of
from blofin_resources.settings import Settings

Receiver = Literal["json", "slack", "telegram"]

TIMEOUT_SECONDS: Final = 5.0
"""How long a message may take in all, whatever the other side does."""

MOST_LINES: Final = 10
"""Items that a message tells one by one; of the others it tells the number."""

MOST_CHARACTERS: Final = 3500
"""Length of a text: Telegram takes 4096, Slack more."""

_CLIENT_LOGGER: Final = logging.getLogger("httpx")


@dataclass(frozen=True)
class Item:
    """One failure to report.

    Attributes
    ----------
    kind
        `run` or `check`.
    name
        What failed.
    detail
        Why, in one line.
    at
        When (UTC, ISO form).
    link
        Page that shows it.
    """

    kind: str
    name: str
    detail: str
    at: str
    link: str


class Notifier:
    """A webhook, or none.

    Parameters
    ----------
    url : SecretStr or None
        Where to post; None for nowhere.
    receiver : str, optional
        `json`, `slack` or `telegram`; told from the address where omitted.
    chat : str, optional
        Telegram's chat id.
    hide : sequence of str
        Further secrets that no message may hold.
    timeout : float
        Seconds that a message may take in all.
    """

    def __init__(
        self,
        url: SecretStr | None,
        receiver: Receiver | None = None,
        *,
        chat: str | None = None,
        hide: Sequence[str] = (),
        timeout: float = TIMEOUT_SECONDS,
    ) -> None:
        self._url = url
        self._chat = chat
        self._timeout = timeout
        address = url.get_secret_value() if url else ""
        self.receiver: Receiver = receiver or _receiver_of(address)
        self._redactor = Redactor([address, *hide])

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the notifier that the settings describe."""
        return cls(settings.notify_url, settings.notify_format, chat=settings.notify_chat, hide=secrets_of(settings))

    def __repr__(self) -> str:
        return f"Notifier({self.receiver}, {'on' if self.on else 'off'})"

    @property
    def on(self) -> bool:
        """Whether a webhook is set."""
        return self._url is not None

    def send(self, title: str, items: Sequence[Item]) -> str | None:
        """Post a message; return None once the receiver has accepted it, else the reason in one line.

        Returns after the timeout at the latest, and raises nothing for failures of the receiver.
        """
        if self._url is None:
            return "no notifier is set: BLOFIN_NOTIFY_URL is empty"
        if self.receiver == "telegram" and not self._chat:
            return "Telegram needs BLOFIN_NOTIFY_CHAT, the id of the chat to post in"
        address, message = self._url.get_secret_value(), self._message(title, items)
        answer: list[str | None] = []
        client = httpx.Client(timeout=self._timeout)

        def post() -> None:
            answer.append(_post(client, address, message, self._timeout))

        # The client's own timeouts hold for each read, so that an answer of single bytes could take for ever.
        thread = threading.Thread(target=post, name="notifier", daemon=True)
        with client, _silent(address):
            thread.start()
            thread.join(self._timeout)
        return answer[0] if answer else f"the notifier did not answer within {self._timeout:g} s"

    def _message(self, title: str, items: Sequence[Item]) -> dict[str, Any]:
        shown = [Item(**{key: self._redactor.hide(value) for key, value in asdict(item).items()}) for item in items]
        title = self._redactor.hide(title)
        text = _text(title, shown)
        if self.receiver == "slack":
            return {"text": text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")}
        if self.receiver == "telegram":
            return {"chat_id": self._chat or "", "text": text, "disable_web_page_preview": True}
        return {"source": "blofin", "title": title, "text": text, "items": [asdict(item) for item in shown]}


def _receiver_of(address: str) -> Receiver:
    host = (urlsplit(address).hostname or "").lower()
    if host == "hooks.slack.com":
        return "slack"
    return "telegram" if host == "api.telegram.org" else "json"


def _text(title: str, items: Sequence[Item]) -> str:
    lines = [title]
    for item in items[:MOST_LINES]:
        lines += [f"• {item.name}: {item.detail} ({item.at})", f"  {item.link}"]
    if len(items) > MOST_LINES:
        lines.append(f"and {len(items) - MOST_LINES} more; see: blofin status")
    text = "\n".join(lines)
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 1] + "…"


def _post(client: httpx.Client, address: str, message: dict[str, Any], timeout: float) -> str | None:
    try:
        status = client.post(address, json=message).status_code
    except httpx.TimeoutException:
        return f"the notifier did not answer within {timeout:g} s"
    except httpx.ConnectError:
        return "the notifier cannot be reached"
    except (httpx.HTTPError, httpx.InvalidURL, RuntimeError) as error:  # the last where the client was closed meanwhile
        return f"the notifier broke off ({type(error).__name__})"
    return None if httpx.codes.is_success(status) else f"the notifier answered HTTP {status}"


@contextmanager
def _silent(address: str) -> Iterator[None]:
    """Keep the HTTP client's log lines that hold the address from every handler."""

    def without_address(record: logging.LogRecord) -> bool:
        return address not in record.getMessage()

    _CLIENT_LOGGER.addFilter(without_address)
    try:
        yield
    finally:
        _CLIENT_LOGGER.removeFilter(without_address)
