"""`blofin features NAME`: the tear sheet of a feature, of a group or of a text, as tables, a page and JSON.

Belongs here: arguments, the trials, the file, JSON. Does not belong here: measuring (`backtester.evaluation.
feature_sheet`), the tables (`blofin_assets.cli.features_text`), the page (`backtester.feature_page`), the market
(`blofin_assets.cli.feature_market`).
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from rich.console import Console

from backtester import Costs
from backtester.evaluation.feature_sheet import (
    FeatureSheet,
    alike,
    feature_sheet,
    forward_returns,
    horizons_in,
    sampled,
)
from backtester.feature_page import feature_page, group_page
from blofin_assets.cli.documents import print_json
from blofin_assets.cli.feature_market import FeatureMarket, feature_market
from blofin_assets.cli.feature_names import check_request, group_of, names_of
from blofin_assets.cli.features_text import (
    Looked,
    said_of_feature,
    said_of_group,
    show_feature,
    show_group,
)
from blofin_assets.cli.session import open_session
from blofin_assets.cli.stored import Span, market_name, say, shown_path
from blofin_assets.reporting.assets import write_whole
from blofin_assets.shared.backtest_rows import frame_of, row_id, trial_id, trial_labels
from blofin_assets.shared.feature_registry import known_features
from blofin_assets.shared.trial_ledger import Configuration, count_seen
from blofin_assets.shared.vocabulary import FEATURE, Author
from blofin_resources.errors import BlofinError
from features.definition import Definition
from features.engine import needs
from features.market import Market
from features.registry import STANDARD_SET, Registry
from strategies.language.strategy import StrategyError
from strategies.language.values import LanguageError
from strategies.untrusted.compiler import MAX_BYTES
from strategies.untrusted.feature_compiler import trial_problem, written_feature
from strategies.untrusted.source_text import SourceTextError, decoded

RUN_ID: Final = "blofin features"
"""`run_id` of the trials' rows: this is no Dagster run."""

_TRIED_BARS: Final = 1_500
"""Bars on which a text is first evaluated, in a process of its own."""
_TRIED_SYMBOLS: Final = 2


Finished: TypeAlias = tuple[list[str], str, dict[str, Any]]
"""Sentences, page and document of a result."""


@dataclass(frozen=True)
class Request:
    """The arguments, unparsed."""

    name: str | None
    file: Path | None
    symbols: str | None
    timeframe: str
    span: Span
    as_json: bool = False
    fee: float | None = None
    slippage: float | None = None

    def costs(self) -> Costs:
        """Return the costs of the quantile book, those of `Costs` where none were asked for."""
        given = {"taker_fee": self.fee, "slippage": self.slippage}
        rates = {name: rate for name, rate in given.items() if rate is not None}
        return Costs(**rates, maker_targets=False)


def run_features(request: Request) -> None:
    """Measure a feature, a group or a text, count the trials, print what came and write the page.

    Raises
    ------
    BlofinError
        If an argument is wrong, or nothing can be measured.
    """
    done = measured(request)
    if request.as_json:
        print_json(done.document)
        return
    out = Console()
    if done.group:
        show_group(out, done.title, done.found.told(), done.sheets)
    else:
        show_feature(out, done.title, done.found.told(), done.sheets[0], done.document["alike"])
    say(out, (*done.said, *done.found.notes, f"page: {shown_path(done.document['page'])}"))


@dataclass(frozen=True, eq=False)
class Measured:
    """A feature or a group that was measured.

    Attributes
    ----------
    title : str
        Its name.
    group : bool
        Whether it is a group.
    found : FeatureMarket
        What it was measured on.
    sheets : list of FeatureSheet
        One of each feature.
    said : list of str
        What they say, a sentence each.
    document : dict of str to value
        For `blofin_assets.cli.documents.json_of`.
    """

    title: str
    group: bool
    found: FeatureMarket
    sheets: list[FeatureSheet]
    said: list[str]
    document: dict[str, Any]


def measured(request: Request) -> Measured:
    """Measure a feature, a group or a text, count the trials and write the page.

    Raises
    ------
    BlofinError
        If an argument is wrong, or nothing can be measured.
    """
    check_request(request.name, request.file)
    request.costs()  # a rate that cannot be is refused before anything is read
    text = None if request.file is None else _text_of(request.file)
    written = None if text is None else _compiled(text, request.file)
    session = open_session()
    registry = known_features(session.warehouse, *([] if written is None else [written]))
    names = names_of(registry, request.name or "") if written is None else [written.pattern]
    title = request.name or (request.file.name if request.file else "")
    found = feature_market(session, registry, request.symbols, request.timeframe, request.span)
    if written is not None and text is not None:
        _tried(text, written, registry, found, request.file)
    return _measure(found, registry, names, title, request, group=group_of(request.name) is not None, text=text)


def _text_of(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        msg = f"--file {path} is longer than {MAX_BYTES:,} bytes; give one expression"
        raise BlofinError(msg)
    try:
        return decoded(data)
    except SourceTextError as error:
        msg = f"--file {path}: {error}"
        raise BlofinError(msg) from None


def _compiled(text: str, path: Path | None) -> Definition:
    try:
        return written_feature(text, f"From {path}.")
    except (StrategyError, LanguageError, LookupError, ValueError) as error:
        msg = f"--file {path}: {error}"
        raise BlofinError(msg) from None


def _tried(text: str, written: Definition, registry: Registry, found: FeatureMarket, path: Path | None) -> None:
    """Evaluate a text in the child process of first evaluations, before anything of it runs here."""
    source, end, own = found.manager.source, found.window.end, found.market.timeframe
    symbols = list(found.market.symbols[:_TRIED_SYMBOLS])
    need = needs([written.pattern], own, registry)
    wanted = {own: set(symbols)}
    for symbol, timeframe in need.candles:
        wanted.setdefault(timeframe, set()).update([symbol] if symbol else symbols)
    candles = {each: source.last_candles(sorted(some), each, end, _TRIED_BARS) for each, some in wanted.items()}
    reason = trial_problem(text, Market(candles, source.funding(symbols, found.start, end)), own)
    if reason:
        msg = f"--file {path}: {reason}"
        raise BlofinError(msg)


def _measure(
    found: FeatureMarket,
    registry: Registry,
    names: list[str],
    title: str,
    request: Request,
    *,
    group: bool,
    text: str | None,
) -> Measured:
    market, costs = found.market, request.costs()
    forward = {each: forward_returns(market, each) for each in horizons_in(len(market.ts))}
    sheets, left_out = [], []
    for name in names:
        values = found.columns([name])[name]
        try:
            sheets.append(feature_sheet(name, values, market, forward, costs))
        except ValueError as error:
            if not group:
                raise BlofinError(str(error)) from None
            left_out.append(name)
    if not sheets:
        msg = f"no feature of the group {title} is known on any bar: are the data there that they read?"
        raise BlofinError(msg)
    if left_out:
        found.notes.append(f"known on no bar, left out: {', '.join(left_out)}")
    looked = _count(found, registry, sheets)
    versions = [registry.hash(sheet.name) for sheet in sheets]
    other = [] if costs == Costs() else [costs]
    which = row_id(*versions, found.lanes, found.start, found.window.end, *other)[:8]
    file = re.sub(r"[^A-Za-z0-9_.-]+", "_", Path(title).stem if text is not None else title)
    folder = found.session.settings.warehouse.resolve() / "backtests"
    path = folder / f"feature_{file}_{found.window.end:%Y%m%dT%H%MZ}_{which}.html"
    finish = _finish_group if group else _finish_feature
    about = text.strip() if text is not None else _about(registry, sheets[0].name)
    said, page, document = finish(found, sheets, title, looked, about)
    write_whole(path, page)
    whole = {**document, **_window_document(found, looked, sheets), "costs": costs, "page": path}
    return Measured(title, group, found, sheets, said, whole)


def _finish_group(
    found: FeatureMarket, sheets: Sequence[FeatureSheet], title: str, looked: Looked, about: str
) -> Finished:
    del about  # of one feature
    values = found.columns([sheet.name for sheet in sheets], *sampled(found.market))
    matrix = {sheet.name: dict(alike(values[sheet.name], values, across=sheet.across).iter_rows()) for sheet in sheets}
    said = said_of_group(sheets, looked)
    page = group_page(title, sheets, matrix, said=said, window=found.told(), notes=found.notes)
    return said, page, {"group": title, "correlations": matrix}


def _finish_feature(
    found: FeatureMarket, sheets: Sequence[FeatureSheet], title: str, looked: Looked, about: str
) -> Finished:
    (sheet,) = sheets
    others = [name for name in STANDARD_SET if name != sheet.name]
    values = found.columns([sheet.name, *others], *sampled(found.market))
    like = alike(values.pop(sheet.name), values, across=sheet.across)
    said = said_of_feature(sheet, looked)
    page = feature_page(title, sheet, like, about=about, said=said, window=found.told(), notes=found.notes)
    return said, page, {"about": about, "alike": like}


def _window_document(found: FeatureMarket, looked: Looked, sheets: Sequence[FeatureSheet]) -> dict[str, Any]:
    return {
        "market": market_name(found.session),
        "start": found.start,
        "end": found.window.end,
        "symbols": found.market.symbols,
        "timeframe": found.market.timeframe,
        "looks": looked.looks,
        "needed_t": looked.needed,
        "sheets": sheets,
        "notes": found.notes,
    }


def _count(found: FeatureMarket, registry: Registry, sheets: Sequence[FeatureSheet]) -> Looked:
    """Record a trial for each feature and horizon; return how much was looked at on these days, whenever.

    A horizon is a configuration that somebody may choose, as a point of a sweep is. Its sign is not: the side of the
    book follows from it.
    """
    store, end = found.session.warehouse, found.window.end
    window, snapshot = (found.start, end), store.snapshot_id()
    rows = []
    for sheet in sheets:
        version = registry.hash(sheet.name)
        for horizon in sheet.horizons["horizon"]:
            tried: Configuration = (FEATURE, sheet.name, f"{version}:{horizon}", found.lanes)
            rows.append(
                {
                    "id": trial_id(tried, Author.USER, end, found.start),
                    **trial_labels(tried, Author.USER, end, snapshot, window),
                    "score": None,
                    "trades": None,
                    "sharpe": None,
                    "params": json.dumps({"horizon": horizon}),
                }
            )
    with store.transaction(RUN_ID) as tx:
        tx.append("research.trials", frame_of(rows), key=["id"])
    return Looked(count_seen(store, *window), len(rows))


def _about(registry: Registry, name: str) -> str:
    definition = registry.request(name).feature.definition
    return f"{definition.description.rstrip('.')}; {definition.unit}, group {definition.group}."
