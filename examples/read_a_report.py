"""Read a daily report as a program: the JSON beside the page.

Run it with ``.venv/bin/python examples/read_a_report.py warehouse/reports/YYYY-MM-DD.json``. Without a path it
takes the newest report of the warehouse in this folder.
"""

import json
import sys
from pathlib import Path


def main() -> None:
    """Print the best strategies, what drifted, what did not run and the next steps."""
    paths = sys.argv[1:] or sorted(map(str, Path("warehouse/reports").glob("????-??-??.json")))[-1:]
    if not paths:
        sys.exit("no report in warehouse/reports; run: make run")
    report = json.loads(Path(paths[0]).read_text(encoding="utf-8"))

    print(f"{report['report_date']}: {report['summary']}\n")
    for each in report["performance"]["top_5_strategies"]:
        score, sharpe, error = (
            "–" if each[key] is None else f"{each[key]:.1f}" for key in ("score", "sharpe", "sharpe_se")
        )
        print(f"{each['rank']}. {each['name']:<24} score {score:>7}, Sharpe {sharpe} ± {error}")
    drifted = report["performance"]["backtest_vs_live"]["drift_detected"]
    print(f"\ndrift: {'not tested yet' if drifted is None else drifted}")
    for stage in report["stages"]:
        if stage["state"] != "done":
            print(f"{stage['name']}: {stage['state']}, {stage['detail']}")
    print(f"\n{report['ai_next_steps']}")


if __name__ == "__main__":
    main()
