CREATE OR REPLACE VIEW research.latest_results AS
SELECT *
FROM research.strategy_backtest_results AS latest
WHERE as_of = (SELECT max(as_of) FROM research.strategy_backtest_results);
COMMENT ON VIEW research.latest_results IS
    'Backtest results of the latest strategy cycle; columns and units as in research.strategy_backtest_results.';
