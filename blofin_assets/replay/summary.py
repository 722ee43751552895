"""The numbers of a replay: the joined result of what was chosen, and what choosing added.

Belongs here: from rows of the schema `replay` to numbers. Does not belong here: making the rows
(`blofin_assets.replay.stretches`), showing the numbers (`blofin_assets.replay.page`), the statistics
(`backtester.statistics.choosing`).

In comparisons each candidate is scaled to the same standard deviation, which is that of its holdout and so was known
when the desk chose. One that did not move on its holdout has no scale and is in no comparison.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
import polars as pl

from backtester.statistics.choosing import Added, added, rank_correlation
from backtester.statistics.e_process import e_process, loss_bound
from backtester.statistics.metrics import Moments
from backtester.statistics.seeds import derived_seed
from blofin_assets.shared.vocabulary import Author, Kind
from blofin_resources.errors import BlofinError
from blofin_resources.warehouse import Warehouse
from features.array_types import FloatArray
from features.bars import TS

SCALE: Final = 0.01
"""Daily standard deviation to which each candidate is scaled in comparisons, a fraction."""
ACTIVE: Final = "active, equal parts"
BY_RISK: Final = "active, by inverse volatility"
BY_PARITY: Final = "active, by risk parity"
EVERYTHING: Final = "all candidates"
LIBRARY: Final = "library alone"
HOLDING: Final = "holding the symbols"
HOLDING_UNIVERSE: Final = "holding the universe"

_DAYS_PER_YEAR: Final = 365
_KEY: Final = ("as_of", "kind", "name", "version")


@dataclass(frozen=True)
class Held:
    """A set that was held over all stretches, each begun with the members and weights of its choice.

    Attributes
    ----------
    name : str
        Which set.
    members : float or None
        Mean number of members; null of a universe.
    net : Added
        Net result of a stretch on fixed capital, percent.
    total_pct : float
        Sum over the stretches, percent.
    sharpe : float or None
        Of its daily results, annualised; null without variance, and where there are none by day.
    """

    name: str
    members: float | None
    net: Added
    total_pct: float
    sharpe: float | None


@dataclass(frozen=True)
class Told:
    """What came after a label of the holdout.

    Attributes
    ----------
    label : str
        The label.
    cases : int
        Candidates and stretches with it.
    mean_pct : float or None
        Mean net result of the stretch, each scaled, percent; null without a case.
    above_zero : float or None
        Share of the cases that earned anything.
    """

    label: str
    cases: int
    mean_pct: float | None
    above_zero: float | None


@dataclass(frozen=True, eq=False)
class ReplaySummary:
    """A replay in numbers.

    Attributes
    ----------
    replay_id : str
        Which replay.
    kind : Kind
        Of what was chosen.
    begin, end : datetime
        First choice, end of the last stretch (UTC).
    every_days, stretches, search_budget, tuning_budget, seed : int
        As it was run.
    symbols : tuple of str
        What it traded.
    sets : tuple of Held
        The active set under each allocation, all candidates, each author, holding.
    net, gross, saved : Added
        What choosing added in a stretch: the mean of the active less that of all candidates, each scaled to a daily
        deviation of `SCALE`, percent. Net is gross plus the costs that were saved.
    chosen_capital, added_capital : float
        Capital of a bettor on a positive mean of the active set's daily results, and of what choosing added each day.
    ranks : Added
        Correlation of ranks with what came next, by stretch.
    labels : tuple of Told
        What came after `supported`, and after its absence.
    curves : DataFrame
        `name`, `ts` (end of the day), `equity` (1 at the first choice, fixed capital).
    by_stretch : DataFrame
        `as_of`, `until`, `active_pct`, `all_pct`, `added_pct`, `gross_pct`, `holding_pct`, `rank_correlation`.
    """

    replay_id: str
    kind: Kind
    begin: datetime
    end: datetime
    every_days: int
    stretches: int
    search_budget: int
    tuning_budget: int
    seed: int
    symbols: tuple[str, ...]
    sets: tuple[Held, ...]
    net: Added
    gross: Added
    saved: Added
    chosen_capital: float
    added_capital: float
    ranks: Added
    labels: tuple[Told, ...]
    curves: pl.DataFrame
    by_stretch: pl.DataFrame

    @property
    def what(self) -> str:
        """Its kind in the plural."""
        return "books" if self.kind == Kind.BOOK else "strategies"


def summarise(store: Warehouse, replay_id: str, times: Sequence[datetime], kind: Kind) -> ReplaySummary:
    """Return the numbers of a replay.

    Parameters
    ----------
    store : Warehouse
        Where its rows are.
    replay_id : str
        Which replay.
    times : sequence of datetime
        Choices that are summarised (UTC).
    kind : Kind
        Strategies or books: their capitals differ, so they are not added up.

    Returns
    -------
    ReplaySummary
        The same numbers for the same rows.

    Raises
    ------
    BlofinError
        If it has no stretch.
    """
    chosen = {"id": replay_id, "times": list(times), "kind": kind}
    order = "as_of, kind, name, version"
    where = "WHERE replay_id = $id AND as_of IN (SELECT unnest($times))"
    asked = {name: value for name, value in chosen.items() if name != "kind"}
    stretches = store.read(f"SELECT * FROM replay.stretches {where} ORDER BY as_of", asked)  # noqa: S608 - constant text
    if stretches.is_empty():
        msg = f"replay {replay_id} has no stretch yet; run: blofin replay --from DAY --to DAY"
        raise BlofinError(msg)
    candidates = store.read(f"SELECT * FROM replay.candidates {where} AND kind = $kind ORDER BY {order}", chosen)  # noqa: S608
    returns = store.read(f"SELECT * FROM replay.returns {where} AND kind = $kind ORDER BY {order}, day", chosen)  # noqa: S608
    if kind == Kind.BOOK:
        stretches = stretches.with_columns(holding_pct=pl.col("universe_pct"))
    first = stretches.row(0, named=True)
    seed = int(first["seed"])
    run = candidates.filter(pl.col("net_pct").is_not_null())
    daily = run.join(returns.select(*_KEY, "day", "net_return"), on=_KEY, how="left", maintain_order="left")
    scaled = _scaled(run)
    compared = _compared(scaled)
    by_stretch = _by_stretch(stretches, run, compared, scaled)
    scaled_daily = _scaled(daily.filter(pl.col("day").is_not_null()))
    return ReplaySummary(
        replay_id=replay_id,
        kind=kind,
        begin=first["as_of"],
        end=stretches["until"][-1],
        every_days=int(first["every_days"]),
        stretches=stretches.height,
        search_budget=int(first["search_budget"]),
        tuning_budget=int(first["tuning_budget"]),
        seed=seed,
        symbols=tuple(first["symbols"]),
        sets=(*_sets(run, daily, seed), *_holding(stretches, kind, seed)),
        net=_added(by_stretch["added_pct"], seed, "net"),
        gross=_added(by_stretch["gross_pct"], seed, "gross"),
        saved=_added(by_stretch["added_pct"] - by_stretch["gross_pct"], seed, "saved"),
        chosen_capital=_chosen_capital(run, daily),
        added_capital=_added_capital(scaled_daily),
        ranks=_added(by_stretch["rank_correlation"], seed, "ranks"),
        labels=_labels(scaled),
        curves=_curves(run, daily),
        by_stretch=by_stretch,
    )


def _added(values: pl.Series, seed: int, name: str) -> Added:
    return added(values.drop_nulls().to_numpy(), seed=derived_seed(seed, name, size=4))


def _scaled(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of candidates that have a scale, with the factor that brings each to `SCALE`."""
    return rows.filter(pl.col("deviation") > 0.0).with_columns(factor=SCALE / pl.col("deviation"))


def _compared(scaled: pl.DataFrame) -> pl.DataFrame:
    """Return, for each stretch with an active candidate, what choosing added: `as_of`, `added_pct`, `gross_pct`."""
    net, gross = (pl.col(name) * pl.col("factor") for name in ("net_pct", "gross_pct"))
    return (
        scaled.group_by("as_of", maintain_order=True)
        .agg(
            added_pct=net.filter(pl.col("active")).mean() - net.mean(),
            gross_pct=gross.filter(pl.col("active")).mean() - gross.mean(),
        )
        .drop_nulls()
    )


def _by_stretch(
    stretches: pl.DataFrame, run: pl.DataFrame, compared: pl.DataFrame, scaled: pl.DataFrame
) -> pl.DataFrame:
    means = run.group_by("as_of", maintain_order=True).agg(
        active_pct=pl.col("net_pct").filter(pl.col("active")).mean(), all_pct=pl.col("net_pct").mean()
    )
    ranks = [
        (as_of, rank_correlation(-one["rank"].cast(pl.Float64).to_numpy(), (one["net_pct"] * one["factor"]).to_numpy()))
        for (as_of,), one in scaled.group_by("as_of", maintain_order=True)
    ]
    correlations = pl.DataFrame(ranks, schema={"as_of": TS, "rank_correlation": pl.Float64}, orient="row")
    wide = stretches.select("as_of", "until", "holding_pct")
    for part in (means, compared, correlations):
        wide = wide.join(part, on="as_of", how="left", maintain_order="left")
    return wide


def _sets(run: pl.DataFrame, daily: pl.DataFrame, seed: int) -> list[Held]:
    """Return what each set earned: the active ones under each allocation, all, and each author's."""
    chosen = run.filter("active")
    inverse = 1.0 / pl.col("deviation")
    sized = chosen.filter(pl.col("deviation") > 0.0)
    weights = {
        ACTIVE: _equal(chosen),
        BY_RISK: sized.select(*_KEY, weight=inverse / inverse.sum().over("as_of")),
        BY_PARITY: chosen.filter(pl.col("parity") > 0.0).select(
            *_KEY, weight=pl.col("parity") / pl.col("parity").sum().over("as_of")
        ),
        EVERYTHING: _equal(run),
        LIBRARY: _equal(run.filter(pl.col("author") == Author.LIBRARY)),
    }
    authors = sorted(set(run["author"]) - {Author.LIBRARY, ""})
    weights |= {f"by {author} alone": _equal(run.filter(pl.col("author") == author)) for author in authors}
    return [_held(name, weight, run, daily, seed) for name, weight in weights.items() if weight.height]


def _holding(stretches: pl.DataFrame, kind: Kind, seed: int) -> list[Held]:
    """Return what holding earned: of the symbols that strategies trade, or of the universe of books."""
    holding = stretches["holding_pct"].drop_nulls()
    if not len(holding):
        return []
    name, members = (HOLDING_UNIVERSE, None) if kind == Kind.BOOK else (HOLDING, float(len(stretches["symbols"][0])))
    return [Held(name, members, _added(holding, seed, name), float(holding.sum()), None)]


def _equal(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select(*_KEY, weight=1.0 / pl.len().over("as_of"))


def _held(name: str, weights: pl.DataFrame, run: pl.DataFrame, daily: pl.DataFrame, seed: int) -> Held:
    weighted = weights.join(run, on=_KEY, how="left", maintain_order="left")
    nets = weighted.group_by("as_of", maintain_order=True).agg(
        net=(pl.col("net_pct") * pl.col("weight")).sum(), members=pl.len()
    )
    days = _days(weights, daily)
    return Held(
        name,
        float(nets["members"].mean() or 0.0),  # type: ignore[arg-type]  # the mean of integers
        _added(nets["net"], seed, name),
        float(nets["net"].sum()),
        Moments.of(days["net"].to_numpy()).annual_sharpe(_DAYS_PER_YEAR) if days.height > 1 else None,
    )


def _days(weights: pl.DataFrame, daily: pl.DataFrame) -> pl.DataFrame:
    """Return the daily results of a set: `day`, `net` (a fraction); a member without a bar that day adds nothing."""
    rows = weights.join(daily.select(*_KEY, "day", "net_return"), on=_KEY, how="left", maintain_order="left")
    return (
        rows.filter(pl.col("day").is_not_null())
        .sort("day", "kind", "name", "version")
        .group_by("day", maintain_order=True)
        .agg(net=(pl.col("net_return") * pl.col("weight")).sum())
    )


def _curves(run: pl.DataFrame, daily: pl.DataFrame) -> pl.DataFrame:
    parts = []
    for name, rows in ((ACTIVE, run.filter("active")), (EVERYTHING, run)):
        days = _days(_equal(rows), daily)
        parts.append(
            days.select(
                pl.lit(name).alias("name"),
                pl.col("day").dt.offset_by("1d").alias("ts"),
                equity=1.0 + pl.col("net").cum_sum(),
            )
        )
    return pl.concat(parts)


def _chosen_capital(run: pl.DataFrame, daily: pl.DataFrame) -> float:
    """Return the capital of a bettor on the active set: its scale is the mean deviation of those chosen first."""
    chosen = run.filter("active")
    scales = chosen.filter(pl.col("as_of") == pl.col("as_of").min(), pl.col("deviation") > 0.0)["deviation"]
    days = _days(_equal(chosen), daily)["net"].to_numpy()
    return _capital(days, float(scales.mean())) if len(scales) else 1.0  # type: ignore[arg-type]  # the mean of floats


def _added_capital(scaled_daily: pl.DataFrame) -> float:
    """Return the capital of a bettor on what choosing added each day."""
    net = pl.col("net_return") * pl.col("factor")
    days = (
        scaled_daily.sort("day", "kind", "name", "version")
        .group_by("day", maintain_order=True)
        .agg(net=net.filter(pl.col("active")).mean() - net.mean())
        .drop_nulls()
    )
    return _capital(days["net"].to_numpy(), SCALE)


def _capital(days: FloatArray, deviation: float) -> float:
    if not len(days):
        return 1.0
    return float(e_process(days, deviation, loss_bound(np.empty(0), deviation, 0.0)).capital[-1])


def _labels(scaled: pl.DataFrame) -> tuple[Told, ...]:
    told = []
    for label, condition in (
        ("supported", pl.col("supported").fill_null(value=False)),
        ("not supported", ~pl.col("supported").fill_null(value=False)),
    ):
        nets = (scaled.filter(condition)["net_pct"] * scaled.filter(condition)["factor"]).to_numpy()
        told.append(
            Told(
                label,
                len(nets),
                float(nets.mean()) if len(nets) else None,
                float((nets > 0.0).mean()) if len(nets) else None,
            )
        )
    return tuple(told)
