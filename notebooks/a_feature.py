"""A feature: what its values are, and what they said about the returns that came after them."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="A feature")


@app.cell
def _():
    import marimo as mo
    import matplotlib.pyplot as plt
    import polars.selectors as cs

    from blofin_assets.bench import feature

    return cs, feature, mo, plt


@app.cell
def _(mo):
    name = mo.ui.text(value="rate_of_change_24", label="feature")
    mo.vstack(
        [
            mo.md(
                """
                # A feature

                `blofin features` lists them, and most take a length of their own: `rsi_14`, `rsi_21`. Values are those
                known at a bar's close. **Each horizon below is a look at later returns and a counted trial**, so the
                warehouse must be one that may be written.
                """
            ),
            name,
        ]
    )
    return (name,)


@app.cell
def _(feature, name):
    found = feature(name.value)
    (sheet,) = found["sheets"]
    return found, sheet


@app.cell
def _(cs, found, mo, sheet):
    mo.vstack(
        [
            mo.md(f"## {sheet.name}, {found['start']:%Y-%m-%d} to {found['end']:%Y-%m-%d}\n\n{found['about']}"),
            mo.md(f"Known on {sheet.coverage:.1%} of the bars of {len(found['symbols'])} symbols."),
            mo.ui.table(sheet.distribution.with_columns(cs.float().round(4)), selection=None),
        ]
    )
    return


@app.cell
def _(cs, mo, plt, sheet):
    rows = sheet.horizons.drop_nulls("ic")
    figure, axes = plt.subplots(figsize=(9, 3))
    axes.errorbar(rows["horizon"], rows["ic"], yerr=2 * rows["ic_se"].fill_null(0.0), fmt="o", capsize=3)
    axes.axhline(0.0, color="grey", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xlabel("bars ahead")
    axes.set_ylabel("information coefficient, ± 2 errors")
    plt.close(figure)
    table = mo.ui.table(sheet.horizons.with_columns(cs.float().round(4)), selection=None)
    mo.vstack([mo.md("## What it said about later returns"), figure, table])
    return


@app.cell
def _(found, mo):
    lines = "\n".join(f"- {line}" for line in (*found["said"], *found["notes"]))
    mo.md(f"## What to make of it\n\n{lines}\n\nThe page: `{found['page']}`")
    return


if __name__ == "__main__":
    app.run()
