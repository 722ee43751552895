"""A book: weights over a universe with one capital, what it earned, held and paid."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="A book")


@app.cell
def _():
    import marimo as mo
    import matplotlib.pyplot as plt
    import polars as pl
    import polars.selectors as cs

    from blofin_assets.bench import backtest
    from strategies import load_books

    return backtest, cs, load_books, mo, pl, plt


@app.cell
def _(load_books, mo):
    chosen = mo.ui.dropdown([book.name for book in load_books()], value="short_term_reversal", label="book")
    mo.vstack(
        [
            mo.md(
                """
                # A book

                A book holds a weight of each symbol of the universe, with one capital that compounds. It needs a
                warehouse with deep history (`BLOFIN_UNIVERSE`) that may be written: **each book that you choose is a
                counted trial**.
                """
            ),
            chosen,
        ]
    )
    return (chosen,)


@app.cell
def _(backtest, chosen):
    found = backtest(chosen.value)
    numbers = found.document
    return found, numbers


@app.cell
def _(found, mo, numbers, plt):
    equity = found.frames["equity"]
    figure, axes = plt.subplots(figsize=(9, 3.2))
    axes.plot(equity["ts"], equity["equity"], label=numbers["name"])
    axes.plot(equity["ts"], equity["holding"], label="universe, equal weights", color="grey", linewidth=1.0)
    axes.legend(frameon=False)
    plt.close(figure)
    title = f"## {numbers['start']:%Y-%m-%d} to {numbers['end']:%Y-%m-%d}, universe {numbers['universe']}, costs paid"
    mo.vstack([mo.md(title), figure])
    return


@app.cell
def _(cs, mo, numbers, pl):
    metrics = pl.DataFrame(list(numbers["metrics"].items()), schema=["metric", "value"], orient="row", strict=False)
    mo.ui.tabs(
        {
            "Metrics": mo.ui.table(metrics.with_columns(cs.float().round(3)), page_size=30, selection=None),
            "Symbols": mo.ui.table(numbers["by_symbol"].with_columns(cs.float().round(2)), selection=None),
            "Months": mo.ui.table(numbers["by_month"].with_columns(cs.float().round(2)), selection=None),
        }
    )
    return


@app.cell
def _(cs, found, mo, pl):
    last = found.frames["positions"].filter(pl.col("ts") == pl.col("ts").max(), pl.col("quantity") != 0)
    held = last.select("symbol", "quantity", "weight").sort("weight").with_columns(cs.float().round(4))
    mo.vstack([mo.md("## What it holds at the end"), mo.ui.table(held, selection=None)])
    return


@app.cell
def _(mo, numbers):
    notes = "\n".join(f"- {line}" for line in numbers["notes"])
    mo.md(f"## What to know before believing it\n\n{notes}\n\nThe page: `{numbers['page']}`")
    return


if __name__ == "__main__":
    app.run()
