"""Reading a report: the day's numbers as a program has them, and where each part is."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Reading a report")


@app.cell
def _():
    import json

    import marimo as mo
    import polars as pl

    from blofin_assets.bench import warehouse

    return json, mo, pl, warehouse


@app.cell
def _(mo, warehouse):
    stored = warehouse().read("SELECT report_date, report_json FROM reports.daily_reports ORDER BY report_date DESC")
    mo.stop(stored.is_empty(), mo.md("There is no report yet: run `blofin run`."))
    reports = {str(day): text for day, text in stored.iter_rows()}
    chosen = mo.ui.dropdown(reports, value=next(iter(reports)), label="report of")
    mo.vstack([mo.md("# Reading a report\n\nIt reads alone, and nothing here is a trial."), chosen])
    return (chosen,)


@app.cell
def _(chosen, json, mo):
    report = json.loads(chosen.value)
    mo.md(f"{report['summary']}\n\nIts parts: {', '.join(f'`{name}`' for name in report)}.")
    return (report,)


@app.cell
def _(mo, pl, report):
    best = pl.DataFrame(report["performance"]["top_5_strategies"], infer_schema_length=None)
    shown = best.select(pl.col("^(name|score|total_pnl_pct|trades|sharpe|sharpe_se|dsr)$"))
    mo.vstack([mo.md("## The best strategies, on days that none of them had seen"), mo.ui.table(shown, selection=None)])
    return


@app.cell
def _(mo, pl, report):
    ran = pl.DataFrame(report["stages"], infer_schema_length=None).select("name", "state", "detail")
    mo.vstack([mo.md("## What ran"), mo.ui.table(ran, selection=None)])
    return


@app.cell
def _(mo, report):
    mo.md(f"## What to do next\n\n{report['ai_next_steps']}")
    return


if __name__ == "__main__":
    app.run()
