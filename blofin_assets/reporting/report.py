"""A report from its sections: everything here follows from one list, `sections.SECTIONS`.

Belongs here: collecting and building section by section, and the type of the whole. Does not belong here: the content
of a section (`sections`), the layout (`page`).

No look-ahead: every query takes the report's as-of and returns no later rows.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final, get_type_hints

from pydantic import create_model

from blofin_assets.reporting.collect.cycles import collect_cycles, ran_within
from blofin_assets.reporting.collect.forward import collect_forward
from blofin_assets.reporting.document import Document, Kind, NotMade, Part, places
from blofin_assets.reporting.section import ReportData, Section
from blofin_assets.reporting.sections import SECTIONS
from blofin_assets.shared.cadences import FORWARD, ML_CYCLE, STRATEGY_CYCLE
from blofin_assets.shared.fence import Failed, fenced
from blofin_assets.shared.json_values import plain
from blofin_assets.shared.partitions import DAY, day_key
from blofin_resources.warehouse import Warehouse

_FIRST: Final = "SELECT min(as_of) AS as_of FROM research.ranking_history WHERE kind = 'strategy'"
_OTHERS: Final = (
    "SELECT count(*) FROM (SELECT as_of FROM research.ranking_history WHERE kind <> 'strategy' UNION ALL "
    "SELECT as_of FROM research.cycle_history WHERE cycle = ? AND state = 'done') WHERE as_of <= ?"
)


def collect(
    warehouse: Warehouse,
    as_of: datetime,
    *,
    market: str,
    synthetic: bool,
    symbols: tuple[str, ...],
    seed: int,
    draft: bool = False,
    sections: tuple[Section[Any, Any], ...] = SECTIONS,
) -> ReportData:
    """Read all data of the report as of a time.

    Parameters
    ----------
    warehouse : Warehouse
        Where results are stored.
    as_of : datetime
        End of the reported day (UTC); nothing later is read.
    market : str
        Name of the market.
    synthetic : bool
        Whether the market is synthetic.
    symbols : tuple of str
        Traded symbols.
    seed : int
        Seed of the platform.
    draft : bool
        Leave out the review and its cost, for the draft that the reviewer reads: repeating it gives the same draft.
    sections : tuple of Section
        Sections in the order of the page.

    Returns
    -------
    ReportData
        Frames and values that the sections are built from.
    """
    cycles = collect_cycles(warehouse, as_of)
    data = ReportData(
        as_of=as_of,
        since=new_since(warehouse, as_of),
        market=market,
        synthetic=synthetic,
        symbols=_in_order(cycles.symbols, symbols),
        seed=seed,
        draft=draft,
        cycles=cycles,
        forward=collect_forward(warehouse, as_of),
        sections=sections,
    )
    return replace(data, own={section.name: section.collect(warehouse, data) for section in sections})


def build_document(data: ReportData) -> Document:
    """Return the report, which depends on the data alone.

    If a section fails, its part is empty, `not_made` has the reason, and the other sections are unaffected. Run id,
    snapshot and wall-clock time are added by the asset under `provenance`.
    """
    keys: dict[str, Any] = {}
    failed: list[NotMade] = []
    for section in data.sections:
        part = fenced(section.build, data, data.of(section))
        if isinstance(part, Failed):
            failed.append(NotMade(section=section.name, reason=part.reason))
            part = section.nothing(data)
        for name, key in places(section.part):
            (keys.setdefault(key, {}) if key else keys)[name] = getattr(part, name)
    report = form(data.sections)(
        report_date=day_key(data.as_of - DAY),
        as_of=data.as_of.isoformat(),
        cycle=_cycle(data),
        cycles={STRATEGY_CYCLE: plain(data.cycles.strategy_time), ML_CYCLE: plain(data.cycles.model_time)},
        not_made=[],
        **keys,
    )
    return with_not_made(report, failed)


@cache
def form(sections: tuple[Section[Any, Any], ...]) -> type[Document]:
    """Return the type of a report with these sections: `Document`, and the fields of each section's part."""
    fields: dict[str, Any] = {}
    shared: dict[str, dict[str, Any]] = {}
    for section in sections:
        hints = get_type_hints(section.part, include_extras=True)
        for name, key in places(section.part):
            (shared.setdefault(key, {}) if key else fields)[name] = (hints[name], ...)
    for key, own in shared.items():
        fields[key] = (create_model(key.title(), __base__=Part, **own), ...)
    return create_model("Report", __base__=Document, __doc__=Document.__doc__, **fields)


Report: Final = form(SECTIONS)
"""The type of a report with all its sections; `Report.model_json_schema()` gives its JSON schema."""


def with_not_made(report: Document, failed: Sequence[NotMade]) -> Document:
    """Return a report that lists failed sections, in its next steps as well."""
    steps = [f"find out why the section {section.section} could not be made: {section.reason}" for section in failed]
    return report.model_copy(
        update={
            "ai_next_steps": "; ".join([*steps, report.ai_next_steps]),
            "not_made": [*report.not_made, *failed],
        }
    )


def new_since(warehouse: Warehouse, as_of: datetime) -> datetime:
    """Return the time after which results are new in the report at `as_of`: the end of the day before.

    The first strategy cycle may have exactly that as-of, because its grid covers every other day, and there is no
    report of the day before. So the first report includes that cycle: the time is then one microsecond earlier.
    """
    first: datetime | None = warehouse.read(_FIRST)["as_of"][0]
    if first == as_of - DAY and warehouse.read(_OTHERS, [FORWARD, first]).item() == 0:
        return first - timedelta(microseconds=1)
    return as_of - DAY


def _cycle(data: ReportData) -> Kind:
    newest = {STRATEGY_CYCLE: data.cycles.strategy_time, ML_CYCLE: data.cycles.model_time}
    ran = {job for job, time in newest.items() if ran_within(job, time, data.since, data.as_of)}
    return "strategy_day" if STRATEGY_CYCLE in ran else "ml_day" if ML_CYCLE in ran else "no_cycle"


def _in_order(of_cycle: frozenset[str], of_settings: tuple[str, ...]) -> tuple[str, ...]:
    """Return the cycle's symbols in the order of the settings, followed by symbols that are not in the settings."""
    if not of_cycle:
        return of_settings
    kept = tuple(symbol for symbol in of_settings if symbol in of_cycle)
    return kept + tuple(sorted(of_cycle - set(kept)))
