"""A first look at the warehouse: what there is, what a column means, what leads, and the candles."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="A first look at the warehouse")


@app.cell
def _():
    import marimo as mo
    import matplotlib.pyplot as plt
    import polars.selectors as cs

    from blofin_assets.bench import described, tables, warehouse

    return cs, described, mo, plt, tables, warehouse


@app.cell
def _(mo, warehouse):
    store = warehouse()
    mo.md(
        f"""
        # A first look at the warehouse

        `{store.folder}` is open for reading alone: each query is one statement, nothing here can change it, and nothing
        here is a trial. The settings are those of the commands (`BLOFIN_WAREHOUSE`, `.env`).
        """
    )
    return (store,)


@app.cell
def _(mo, store, tables):
    mo.vstack(
        [
            mo.md("## What there is"),
            mo.ui.table(tables(store), page_size=8, selection=None, wrapped_columns=["comment"]),
        ]
    )
    return


@app.cell
def _(described, mo, store):
    name = "research.trades"
    columns = mo.ui.table(described(store, name), page_size=8, selection=None, wrapped_columns=["comment"])
    mo.vstack([mo.md(f"## What the columns of `{name}` mean"), columns])
    return


@app.cell
def _(cs, mo, store):
    leaders = store.read("SELECT kind, rank, name, score, trades, sharpe, sharpe_se, dsr FROM research.leaderboard")
    mo.vstack(
        [
            mo.md(
                """
                ## What leads now, and how much of it may be luck

                `dsr` is the probability that the ratio is above zero, after all that was tried. It is empty where a
                week has too few independent trades to say anything.
                """
            ),
            mo.ui.table(leaders.with_columns(cs.float().round(3)), page_size=10, selection=None),
        ]
    )
    return


@app.cell
def _(mo, plt, store):
    hours = store.read("SELECT symbol, ts, close FROM market.candles_60m WHERE flag IS NULL ORDER BY symbol, ts")
    mo.stop(hours.is_empty(), mo.md("No hours are stored yet: run `blofin run`."))
    figure, axes = plt.subplots(figsize=(9, 3.2))
    for (symbol,), part in hours.group_by("symbol", maintain_order=True):
        axes.plot(part["ts"], part["close"] / part["close"][0], label=symbol, linewidth=1.0)
    axes.set_ylabel("close, first = 1")
    axes.legend(frameon=False)
    plt.close(figure)
    mo.vstack([mo.md(f"## Stored hours: {hours.height:,}"), figure])
    return


if __name__ == "__main__":
    app.run()
