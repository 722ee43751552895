-- Scored or not beside each lane and trade, how small the timing's p can be, and what some columns say.
ALTER TABLE research.strategy_backtest_results ADD COLUMN scored BOOLEAN;
ALTER TABLE research.trades ADD COLUMN scored BOOLEAN;
ALTER TABLE research.evidence ADD COLUMN timing_shifts INTEGER;
COMMENT ON COLUMN research.strategy_backtest_results.scored IS 'whether the lane is in the pooled row: a strategy is scored on the timeframes that it declares, and run on the others beside; true in the pooled row; null in rows written before the column was there';
COMMENT ON COLUMN research.trades.scored IS 'whether its lane is in the pooled result, see research.strategy_backtest_results; null in rows written before the column was there';
COMMENT ON COLUMN research.trades.timeframe IS '1m, 5m or 60m; lanes that are not scored have rows, too: see scored';
COMMENT ON COLUMN research.evidence.timing_p IS 'share of circularly shifted replays of the same signals that were at least as good, the real one among them, 0 to 1; never below 1 / (1 + timing_shifts); null without trades';
COMMENT ON COLUMN research.evidence.timing_shifts IS 'different shifts behind timing_p: all there are by whole bars of the longest timeframe, at most 500 of them';
COMMENT ON COLUMN research.evidence.break_even_slippage IS 'slippage a side at which the pooled result is zero, fraction; null where it loses without any or never traded, infinite above 5 %';
COMMENT ON COLUMN research.ranking_history.rank IS 'place within its kind, 1 is best: first those with ten trades or more, then those with fewer, each by score; null where it was not ranked';
COMMENT ON COLUMN research.trials.params IS 'its parameters, as JSON; {} where it has none; null in rows of exams and of blofin backtest that were written before they were kept';
COMMENT ON COLUMN ml.ml_model_results.baseline_accuracy IS 'accuracy in the holdout of the best constant guess: the share of the more frequent outcome, 0 to 1';
COMMENT ON COLUMN ml.ml_ensembles.baseline_accuracy IS 'accuracy in the holdout of the best constant guess: the share of the more frequent outcome, 0 to 1';
