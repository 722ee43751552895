"""Merging the files of one symbol and kind into one file of an archive.

Belongs here: merging with what the archive has, atomic writes. Does not belong here: reading a file (`reading`).

Each file of the archive is written as a draft beside its place. Drafts replace the files when all of them are written,
so a person can look before anything changes, and a process that dies leaves the archive's own files whole. One file is
in memory at a time.
"""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

import polars as pl

from blofin_resources.errors import MarketError
from blofin_resources.market.importing.reading import MINUTES, known_columns, read_source
from blofin_resources.market.importing.recognition import PlainFormat, Source, Survey, Target
from features.steps import Step, find_steps

_DRAFT: Final = ".import-draft"
_FILE: Final = "_file"
_OTHER: Final = "_other"
_LATE_FUNDING: Final = timedelta(days=2)
"""More than any interval between payments."""


@dataclass(frozen=True)
class Joined:
    """A file of the archive after the import.

    Attributes
    ----------
    target : Target
        Symbol, kind and timeframe.
    files : int
        Number of sources, not counting the archive itself.
    rows, new : int
        Number of rows, and of those that are new.
    first, last : datetime
        First and last time (UTC).
    missing : int or None
        Bars missing between first and last; None for funding and positioning.
    steps : tuple of Step
        Permanent steps of the price, which a person must explain before the symbol is traded.
    """

    target: Target
    files: int
    rows: int
    new: int
    first: datetime
    last: datetime
    missing: int | None
    steps: tuple[Step, ...]


class Refused(NamedTuple):
    """A target that is not written, and the reason."""

    target: Target
    reason: str


class Import(NamedTuple):
    """Outcome of an import, by target."""

    joined: tuple[Joined, ...]
    refused: tuple[Refused, ...]

    def short_funding(self) -> list[tuple[Joined, timedelta]]:
        """Return the files of funding that end well before the candles of their symbol, and by how much."""
        ends: dict[str, datetime] = {}
        for each in self.joined:
            if each.target.kind == "candles":
                ends[each.target.symbol] = max(each.last, ends.get(each.target.symbol, each.last))
        paid = [each for each in self.joined if each.target.kind == "funding" and each.target.symbol in ends]
        short = [(each, ends[each.target.symbol] - each.last) for each in paid]
        return [(each, by) for each, by in short if by > _LATE_FUNDING]


def import_folder(
    found: Survey,
    archive: Path,
    plain: PlainFormat | None = None,
    *,
    confirm: Callable[[Import], bool] = lambda _: True,
    on_progress: Callable[[Target], None] = lambda _: None,
) -> Import:
    """Join the files of a folder into those of an archive.

    Parameters
    ----------
    found : Survey
        The files to read.
    archive : Path
        Folder of the archive; created if absent.
    plain : PlainFormat, optional
        How to read CSV and Parquet files.
    confirm : callable, optional
        Called with the outcome before anything changes; the archive stays as it is if this returns False or raises.
    on_progress : callable, optional
        Called with each target before it is read.

    Returns
    -------
    Import
        Files of the archive, and what was refused.

    Raises
    ------
    MarketError
        If the archive cannot be written.
    """
    drafts: dict[Path, Path] = {}
    joined, refused = list[Joined](), list[Refused]()
    existed = archive.exists()
    try:
        archive.mkdir(parents=True, exist_ok=True)
        for target, sources in found.targets().items():
            on_progress(target)
            place = archive / f"{target.stem}.parquet"
            try:
                frame, summary = _joined(target, sources, place, plain)
            except MarketError as error:
                refused.append(Refused(target, str(error)))
                continue
            joined.append(summary)
            if summary.new:
                draft = drafts[place] = place.with_name(place.name + _DRAFT)
                frame.write_parquet(draft)
        outcome = Import(tuple(joined), tuple(refused))
        if confirm(outcome):
            for place, draft in drafts.items():
                draft.replace(place)
    except OSError as error:
        msg = f"archive {archive} cannot be written: {error}; choose another folder with --to"
        raise MarketError(msg) from error
    finally:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)
        if not existed:
            with contextlib.suppress(OSError):  # it holds files now, or was never made
                archive.rmdir()
    return outcome


def _joined(
    target: Target, sources: Sequence[Source], place: Path, plain: PlainFormat | None
) -> tuple[pl.DataFrame, Joined]:
    named = {source.name: source.path for source in sources}
    if len(named) > 1:
        names, paths = " and ".join(sorted(named)), ", ".join(str(named[name]) for name in sorted(named))
        msg = f"{target.stem}: {names} are both {target.symbol} ({paths}); remove one"
        raise MarketError(msg)
    other = place.with_suffix(".csv")
    if other.exists():
        msg = f"{other} is there already; move it into the folder that you import, or away"
        raise MarketError(msg)
    own = Source(place, target, target.symbol, "parquet", "plain")
    if place.exists():
        lost = sorted(set(pl.read_parquet_schema(place)) - set(known_columns(target.kind)))
        if lost:
            msg = f"{place} has columns that no archive has ({', '.join(lost)}); move it away to keep them"
            raise MarketError(msg)
    all_sources = [own, *sources] if place.exists() else list(sources)
    paths_of = [source.path for source in all_sources]
    frame, known = pl.DataFrame(), 0
    for number, source in enumerate(all_sources):
        rows = read_source(source, None if source is own else plain).with_columns(pl.lit(number).alias(_FILE))
        frame = _added(frame, rows, paths_of) if number else rows
        known = rows.height if source is own else known
    if frame.is_empty():
        msg = f"{', '.join(str(source.path) for source in sources)}: no rows"
        raise MarketError(msg)
    made = frame.select(name for name in known_columns(target.kind) if name in frame.columns)
    first, last, new = made["ts"][0], made["ts"][-1], made.height - known
    return made, Joined(
        target, len(sources), made.height, new, first, last, _missing(made, target), _steps(made, target)
    )


def _added(frame: pl.DataFrame, rows: pl.DataFrame, paths: Sequence[Path]) -> pl.DataFrame:
    """Merge the rows of two files; refuse them if they disagree at a time."""
    both = frame.join(rows, on="ts", suffix=_OTHER)
    for name in frame.columns:
        if name in ("ts", _FILE) or f"{name}{_OTHER}" not in both.columns:
            continue
        wrong = both.filter(pl.col(name) != pl.col(f"{name}{_OTHER}"))
        if wrong.height:
            row = wrong.row(0, named=True)
            msg = (
                f"{paths[row[_FILE]]} and {paths[row[_FILE + _OTHER]]} disagree at {row['ts']:%Y-%m-%dT%H:%M:%SZ}: "
                f"{name} is {row[name]} and {row[name + _OTHER]} ({wrong.height} rows); remove one of the files"
            )
            raise MarketError(msg)
    # a value that one file lacks is taken from the other
    return pl.concat([frame, rows], how="diagonal").group_by("ts").agg(pl.all().drop_nulls().first()).sort("ts")


def _missing(frame: pl.DataFrame, target: Target) -> int | None:
    if target.kind in ("funding", "metrics"):
        return None
    minutes = (frame["ts"][-1] - frame["ts"][0]).total_seconds() / 60
    return int(minutes // MINUTES[target.timeframe]) + 1 - frame.height


def _steps(frame: pl.DataFrame, target: Target) -> tuple[Step, ...]:
    if target.kind != "candles":
        return ()
    found = find_steps(frame.with_columns(symbol=pl.lit(target.symbol)))
    return tuple(Step(*row) for row in found.select("symbol", "ts", "ratio").iter_rows())
