"""The score by which strategies, models and ensembles are ranked.

Belongs here: its formula, term by term. Does not belong here: the terms themselves (`backtester.statistics.metrics`),
which lanes and trades they are of (`backtester.evaluation.pooling`), the order of equal scores
(`backtester.evaluation.ranking`).
"""


def score(win_rate: float | None, avg_pnl_pct: float | None, sharpe: float | None, drawdown: float) -> float | None:
    """Return the score by which strategies, models and ensembles are ranked.

    `40 * win_rate + 30 * avg_pnl_pct + 20 * sharpe - 10 * max_drawdown`, unclamped.

    Parameters
    ----------
    win_rate : float or None
        Share of trades with a net gain, from 0 to 1.
    avg_pnl_pct : float or None
        Mean net PnL of a trade, percent.
    sharpe : float or None
        Annualised Sharpe ratio.
    drawdown : float
        Largest drawdown, a fraction from 0 to 1.

    Returns
    -------
    float or None
        None if a term is.

    Examples
    --------
    >>> score(win_rate=0.5, avg_pnl_pct=0.1, sharpe=1.0, drawdown=0.2)
    41.0
    """
    terms = score_terms(win_rate, avg_pnl_pct, sharpe, drawdown)
    return None if terms is None else terms[0] + terms[1] + terms[2] + terms[3]


def score_terms(
    win_rate: float | None, avg_pnl_pct: float | None, sharpe: float | None, drawdown: float
) -> tuple[float, float, float, float] | None:
    """Return the four terms that add up to `score`.

    Parameters
    ----------
    win_rate, avg_pnl_pct, sharpe : float or None
        As for `score`.
    drawdown : float
        As for `score`.

    Returns
    -------
    tuple of four float, or None
        None if `score` is.
    """
    if win_rate is None or avg_pnl_pct is None or sharpe is None:
        return None
    return 40.0 * win_rate, 30.0 * avg_pnl_pct, 20.0 * sharpe, -10.0 * drawdown
