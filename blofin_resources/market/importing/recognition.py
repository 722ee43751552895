"""Which program wrote a file, and the symbol, kind and timeframe of its rows, by its name.

Belongs here: names of files. Does not belong here: what is in them (`reading`), symbols and timeframes by themselves
(`names`).
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeAlias

from blofin_resources.errors import MarketError
from blofin_resources.market.importing.names import TIMEFRAMES, NameRefusedError, symbol_of

Kind: TypeAlias = Literal["candles", "mark", "funding", "metrics"]
Form: TypeAlias = Literal["feather", "json", "zip", "csv", "parquet"]

_FREQTRADE: Final = re.compile(
    r"(?P<name>\w+)-(?P<frame>\d+[A-Za-z]+)(?:-(?P<what>[A-Za-z_]+))?\.(?P<form>feather|json|json\.gz|parquet)"
)
_FREQTRADE_KINDS: Final[Mapping[str | None, Kind]] = {
    None: "candles", "spot": "candles", "futures": "candles", "mark": "mark", "funding_rate": "funding",
}  # fmt: skip
_BINANCE: Final = re.compile(r"(?P<name>\w+)-(?P<what>\w+)-\d{4}-\d{2}(?:-\d{2})?\.zip")
_BINANCE_KINDS: Final[Mapping[str, Kind]] = {"fundingRate": "funding", "metrics": "metrics"}
_BINANCE_PRICES: Final = re.compile(r"(index|premiumIndex)PriceKlines|premiumIndexKlines|indexPriceKlines")
_PLAIN: Final = re.compile(r"(?P<name>.+)_(?P<what>[A-Za-z0-9]+)\.(?P<form>csv|parquet)")
_PLAIN_KINDS: Final[Mapping[str, Kind]] = {"mark": "mark", "funding": "funding", "metrics": "metrics"}
_MARK_TIMEFRAME: Final = "1m"
"""An archive keeps mark prices as 1-minute bars, since liquidations are checked by the minute."""


@dataclass(frozen=True)
class PlainFormat:
    """How to read CSV and Parquet files whose names or columns differ from those of an archive.

    Attributes
    ----------
    names : mapping of str to str
        Column of an archive -> column of the file.
    symbol, timeframe : str, optional
        Of a file whose name tells none.
    percent : bool
        Whether funding rates are in percent.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    symbol: str | None = None
    timeframe: str | None = None
    percent: bool = False


class Target(NamedTuple):
    """A file of an archive."""

    symbol: str
    kind: Kind
    timeframe: str

    @property
    def stem(self) -> str:
        """Name of the file without suffix."""
        return f"{self.symbol}_{self.timeframe if self.kind == 'candles' else self.kind}"


class Source(NamedTuple):
    """A file to read: its target, its own name for the symbol, its format, and the program that wrote it."""

    path: Path
    target: Target
    name: str
    form: Form
    writer: Literal["freqtrade", "binance", "plain"]


@dataclass(frozen=True)
class Survey:
    """The files of a folder.

    Attributes
    ----------
    sources : tuple of Source
        Files that are read, by target and path.
    skipped : tuple of (Path, str)
        Files that are not, with the reason.
    """

    sources: tuple[Source, ...]
    skipped: tuple[tuple[Path, str], ...]

    def targets(self) -> dict[Target, list[Source]]:
        """Return the sources of each target, sorted."""
        found: dict[Target, list[Source]] = {}
        for source in self.sources:
            found.setdefault(source.target, []).append(source)
        return dict(sorted(found.items()))


def survey(folder: Path, plain: PlainFormat | None = None) -> Survey:
    """Classify the files of a folder and its subfolders by name.

    Parameters
    ----------
    folder : Path
        A folder, or one file.
    plain : PlainFormat, optional
        How to read CSV and Parquet files.

    Raises
    ------
    MarketError
        If there is no such folder, or it holds no file that can be read.
    """
    if not folder.exists():
        msg = f"{folder} does not exist; name a folder of freqtrade, Binance, CSV or Parquet files"
        raise MarketError(msg)
    sources, skipped = [], []
    for path in _files(folder):
        try:
            sources.append(_recognised(path, plain or PlainFormat()))
        except NameRefusedError as error:
            skipped.append((path, str(error)))
    if not sources:
        shown = _shown(skipped) or "it is empty"
        msg = (
            f"{folder} holds nothing to import ({shown}); give files of freqtrade (BTC_USDT_USDT-1h-futures.feather) "
            "or Binance (BTCUSDT-1h-2024-01.zip), or BTC-USDT_1h.csv, or say what they are: --symbol, --timeframe"
        )
        raise MarketError(msg)
    return Survey(tuple(sorted(sources, key=lambda source: (source.target, source.path))), tuple(skipped))


def _shown(skipped: Sequence[tuple[Path, str]]) -> str:
    """Return up to three reasons, each with its first file and the number of further ones."""
    by_reason: dict[str, list[str]] = {}
    for path, reason in skipped:
        by_reason.setdefault(reason, []).append(path.name)
    return "; ".join(
        f"{names[0]}{f' and {len(names) - 1} more' if names[1:] else ''}: {reason}"
        for reason, names in list(by_reason.items())[:3]
    )


def _files(folder: Path) -> Iterator[Path]:
    if folder.is_file():
        yield folder
        return
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts):
            yield path


def _recognised(path: Path, plain: PlainFormat) -> Source:
    ways: tuple[Callable[[Path, PlainFormat], Source | None], ...] = (_of_binance, _of_freqtrade, _of_plain)
    for way in ways:
        found = way(path, plain)
        if found is not None:
            return found
    msg = "not named like a file of freqtrade or Binance, nor <SYMBOL>_<timeframe>.csv or .parquet"
    raise NameRefusedError(msg)


def _of_freqtrade(path: Path, _: PlainFormat) -> Source | None:
    match = _FREQTRADE.fullmatch(path.name)
    if match is None or "_" not in match["name"]:
        return None
    if match["what"] not in _FREQTRADE_KINDS:
        msg = f"{match['what']} prices are not used"
        raise NameRefusedError(msg)
    target = _target(match["name"], _FREQTRADE_KINDS[match["what"]], match["frame"])
    form: Form = "json" if match["form"].startswith("json") else "feather" if match["form"] == "feather" else "parquet"
    return Source(path, target, match["name"], form, "freqtrade")


def _of_binance(path: Path, _: PlainFormat) -> Source | None:
    match = _BINANCE.fullmatch(path.name)
    if match is None:
        return None
    parts = {part for part in path.parent.parts if _BINANCE_PRICES.fullmatch(part)}
    if parts:
        msg = f"{', '.join(sorted(parts))} are not used"
        raise NameRefusedError(msg)
    kind: Kind = _BINANCE_KINDS.get(match["what"], "mark" if "markPriceKlines" in path.parts else "candles")
    if kind == "candles" and not match["what"][0].isdigit():
        msg = f"{match['what']} files are not read"
        raise NameRefusedError(msg)
    return Source(path, _target(match["name"], kind, match["what"]), match["name"], "zip", "binance")


def _of_plain(path: Path, plain: PlainFormat) -> Source | None:
    match = _PLAIN.fullmatch(path.name)
    form = path.suffix.removeprefix(".")
    if form not in ("csv", "parquet") or (match is None and plain.symbol is None and plain.timeframe is None):
        return None
    what = plain.timeframe or (match["what"] if match else None)
    name = plain.symbol or (match["name"] if match and not plain.timeframe else path.stem)
    if what is None:
        msg = "its name tells no timeframe; give --timeframe, such as 1h"
        raise NameRefusedError(msg)
    kind = _PLAIN_KINDS.get(what, "candles")
    return Source(path, _target(name, kind, what), name, "csv" if form == "csv" else "parquet", "plain")


def _target(name: str, kind: Kind, frame: str) -> Target:
    if kind in ("funding", "metrics"):
        return Target(symbol_of(name), kind, "")
    if kind == "mark" and frame in _PLAIN_KINDS:
        frame = _MARK_TIMEFRAME
    timeframe = TIMEFRAMES.get(frame)
    if timeframe is None:
        msg = f"bars of {frame} are not read; read are {', '.join(dict.fromkeys(TIMEFRAMES.values()))}"
        raise NameRefusedError(msg)
    if kind == "mark" and timeframe != _MARK_TIMEFRAME:
        msg = f"mark prices of {frame} are not used, those of {_MARK_TIMEFRAME} are"
        raise NameRefusedError(msg)
    return Target(symbol_of(name), kind, timeframe)
