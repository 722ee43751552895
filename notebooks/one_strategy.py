"""One strategy from idea to verdict: write it, run it with its costs, see what it earned and how much may be luck."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="One strategy, from idea to verdict")


@app.cell
def _():
    import marimo as mo
    import matplotlib.pyplot as plt
    import polars.selectors as cs

    from blofin_assets.bench import backtest
    from strategies import compile_strategy

    return backtest, compile_strategy, cs, mo, plt


@app.cell
def _(mo):
    idea = mo.ui.code_editor(
        value='''class Bounce(Strategy):
    """Buys what fell far within hours, and sells when it is back in the middle.

    Edge: forced sellers pay for speed.
    Fails: where the fall goes on.
    """

    name = "bounce"
    timeframes = ("60m",)
    low = Param(35, 20, 50)

    def detect(self, f):
        return Signal(long_entry=f.rsi_14 < self.low, long_exit=f.rsi_14 > 50)
''',
        language="python",
    )
    mo.vstack(
        [
            mo.md(
                """
                # One strategy, from idea to verdict

                Write the idea. The text is compiled from the words of the language, never executed as Python
                (`docs/guides/STRATEGY_DESIGN.md`).

                **Each version that you run is a trial** in the ledger of the warehouse, once: that is what the verdict
                at the end is worth. So this notebook needs a warehouse that it may write. On one that it may only read
                the run is refused, not done uncounted.
                """
            ),
            idea,
        ]
    )
    return (idea,)


@app.cell
def _(backtest, compile_strategy, idea):
    found = backtest(compile_strategy(idea.value), days=30)
    numbers = found.document
    return found, numbers


@app.cell
def _(cs, found, mo, numbers, plt):
    equity = found.frames["equity"]
    figure, axes = plt.subplots(figsize=(9, 3.2))
    axes.plot(equity["ts"], equity["equity"], label=numbers["name"])
    axes.plot(equity["ts"], equity["holding"], label="holding the same", color="grey", linewidth=1.0)
    axes.legend(frameon=False)
    figure.autofmt_xdate()
    plt.close(figure)
    title = f"## What it earned, {numbers['start']:%Y-%m-%d} to {numbers['end']:%Y-%m-%d}, costs paid"
    by_symbol = numbers["by_symbol"].with_columns(cs.float().round(3))
    mo.vstack([mo.md(title), figure, mo.ui.table(by_symbol, selection=None)])
    return


@app.cell
def _(mo, numbers):
    pooled, deflated = numbers["pooled"], numbers["deflated_sharpe"]
    ratio = "unknown" if pooled["sharpe"] is None else f"{pooled['sharpe']:.1f} ± {pooled['sharpe_se']:.1f}"
    luck = "unknown: too few independent episodes" if deflated is None else f"{deflated:.3f}"
    mo.md(
        f"""
        ## The verdict

        - {pooled["trades"]} trades earned {pooled["total_pnl_pct"]:+.2f} %; holding earned
          {numbers["holding_pct"]:+.2f} %. The Sharpe ratio is {ratio}.
        - The probability that it is above zero, after the **{numbers["tries"]} configurations** tried on these days, is
          {luck}. From 0.95 on a result is called supported.
        - Change a number above and the count goes up by one, whether or not you like what you see.

        Every trade is on the page: `{numbers["page"]}`
        """
    )
    return


if __name__ == "__main__":
    app.run()
