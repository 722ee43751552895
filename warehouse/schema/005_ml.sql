-- Models, how they did on data that they had never seen, and what they predicted.
CREATE SCHEMA IF NOT EXISTS ml;

CREATE TABLE ml.ml_model_results (
    id VARCHAR NOT NULL,
    model_name VARCHAR NOT NULL,
    model_type VARCHAR NOT NULL,
    "timestamp" TIMESTAMPTZ NOT NULL,
    accuracy DOUBLE,
    precision DOUBLE,
    recall DOUBLE,
    f1 DOUBLE,
    features_used VARCHAR,
    hyperparams VARCHAR,
    status VARCHAR,
    train_loss DOUBLE,
    as_of TIMESTAMPTZ NOT NULL,
    timeframe VARCHAR NOT NULL,
    version VARCHAR NOT NULL,
    log_loss DOUBLE,
    baseline_accuracy DOUBLE,
    baseline_log_loss DOUBLE,
    holdout_start TIMESTAMPTZ,
    holdout_end TIMESTAMPTZ,
    train_start TIMESTAMPTZ,
    train_end TIMESTAMPTZ,
    rows_train INTEGER,
    rows_holdout INTEGER,
    win_rate DOUBLE,
    avg_pnl_pct DOUBLE,
    sharpe DOUBLE,
    max_drawdown DOUBLE,
    total_trades INTEGER,
    score DOUBLE,
    score_win_rate DOUBLE,
    score_avg_pnl DOUBLE,
    score_sharpe DOUBLE,
    score_drawdown DOUBLE,
    artifact VARCHAR,
    snapshot_id BIGINT,
    run_id VARCHAR NOT NULL
);
COMMENT ON TABLE ml.ml_model_results IS 'Results of models: holdout metrics and their backtest as a trading strategy.';
COMMENT ON COLUMN ml.ml_model_results.id IS 'hash of model, version and as-of';
COMMENT ON COLUMN ml.ml_model_results.model_name IS 'name of the model, such as direction_5m';
COMMENT ON COLUMN ml.ml_model_results.model_type IS 'direction, risk, price, momentum or volatility';
COMMENT ON COLUMN ml.ml_model_results."timestamp" IS 'when the row was written (UTC, wall clock)';
COMMENT ON COLUMN ml.ml_model_results.accuracy IS 'share of right classes in the holdout, 0 to 1';
COMMENT ON COLUMN ml.ml_model_results.precision IS 'share of predicted ups that were ups, 0 to 1';
COMMENT ON COLUMN ml.ml_model_results.recall IS 'share of ups that were predicted, 0 to 1';
COMMENT ON COLUMN ml.ml_model_results.f1 IS 'harmonic mean of precision and recall, 0 to 1';
COMMENT ON COLUMN ml.ml_model_results.features_used IS 'features, as JSON list';
COMMENT ON COLUMN ml.ml_model_results.hyperparams IS 'hyper-parameters, as JSON';
COMMENT ON COLUMN ml.ml_model_results.status IS 'active, tuning, candidate or archived';
COMMENT ON COLUMN ml.ml_model_results.train_loss IS 'loss on the training rows, in the unit of the model''s loss';
COMMENT ON COLUMN ml.ml_model_results.as_of IS 'as-of of the cycle (UTC): nothing later was known';
COMMENT ON COLUMN ml.ml_model_results.timeframe IS '1m, 5m or 60m';
COMMENT ON COLUMN ml.ml_model_results.version IS 'version of the model';
COMMENT ON COLUMN ml.ml_model_results.log_loss IS 'log-loss in the holdout, in nats';
COMMENT ON COLUMN ml.ml_model_results.baseline_accuracy IS 'accuracy of the naive baseline in the holdout, 0 to 1';
COMMENT ON COLUMN ml.ml_model_results.baseline_log_loss IS 'log-loss of the naive baseline in the holdout, in nats';
COMMENT ON COLUMN ml.ml_model_results.holdout_start IS 'first opening time of the holdout (UTC)';
COMMENT ON COLUMN ml.ml_model_results.holdout_end IS 'end of the holdout (UTC)';
COMMENT ON COLUMN ml.ml_model_results.train_start IS 'first opening time of the training window (UTC)';
COMMENT ON COLUMN ml.ml_model_results.train_end IS 'end of the training window (UTC)';
COMMENT ON COLUMN ml.ml_model_results.rows_train IS 'number of training rows';
COMMENT ON COLUMN ml.ml_model_results.rows_holdout IS 'number of holdout rows';
COMMENT ON COLUMN ml.ml_model_results.win_rate IS 'share of trades that made money after all costs, 0 to 1; null without trades';
COMMENT ON COLUMN ml.ml_model_results.avg_pnl_pct IS 'mean net profit of a trade, in percent of its entry notional; null without trades';
COMMENT ON COLUMN ml.ml_model_results.sharpe IS 'Sharpe ratio of the equity curve''s returns, annualised over 365 days; null where they have no variance';
COMMENT ON COLUMN ml.ml_model_results.max_drawdown IS 'largest fall of equity from a peak, as a fraction, 0 to 1';
COMMENT ON COLUMN ml.ml_model_results.total_trades IS 'number of trades';
COMMENT ON COLUMN ml.ml_model_results.score IS '40 win_rate + 30 avg_pnl_pct + 20 sharpe - 10 max_drawdown; null without trades';
COMMENT ON COLUMN ml.ml_model_results.score_win_rate IS 'term of the score: 40 times win_rate';
COMMENT ON COLUMN ml.ml_model_results.score_avg_pnl IS 'term of the score: 30 times avg_pnl_pct';
COMMENT ON COLUMN ml.ml_model_results.score_sharpe IS 'term of the score: 20 times sharpe';
COMMENT ON COLUMN ml.ml_model_results.score_drawdown IS 'term of the score: minus 10 times max_drawdown';
COMMENT ON COLUMN ml.ml_model_results.artifact IS 'folder of the model, relative to the warehouse';
COMMENT ON COLUMN ml.ml_model_results.snapshot_id IS 'snapshot of the warehouse that was read';
COMMENT ON COLUMN ml.ml_model_results.run_id IS 'Dagster run that wrote the row';
INSERT INTO meta.table_keys VALUES ('ml.ml_model_results', ['id']);

CREATE TABLE ml.predictions (
    model_name VARCHAR NOT NULL,
    version VARCHAR NOT NULL,
    as_of TIMESTAMPTZ NOT NULL,
    symbol VARCHAR NOT NULL,
    timeframe VARCHAR NOT NULL,
    ts TIMESTAMPTZ NOT NULL,
    probability DOUBLE,
    label DOUBLE,
    run_id VARCHAR NOT NULL
);
ALTER TABLE ml.predictions SET PARTITIONED BY (year(ts), month(ts));
COMMENT ON TABLE ml.predictions IS 'Out-of-sample predictions of models.';
COMMENT ON COLUMN ml.predictions.model_name IS 'name of the model';
COMMENT ON COLUMN ml.predictions.version IS 'version of the model';
COMMENT ON COLUMN ml.predictions.as_of IS 'as-of of the cycle (UTC): nothing later was known';
COMMENT ON COLUMN ml.predictions.symbol IS 'perpetual future, BASE-QUOTE';
COMMENT ON COLUMN ml.predictions.timeframe IS '1m, 5m or 60m';
COMMENT ON COLUMN ml.predictions.ts IS 'opening time of the bar at whose close the prediction was made (UTC)';
COMMENT ON COLUMN ml.predictions.probability IS 'predicted probability of the label being up, 0 to 1';
COMMENT ON COLUMN ml.predictions.label IS 'label as it turned out, in the unit of the model''s label; null while unknown';
COMMENT ON COLUMN ml.predictions.run_id IS 'Dagster run that wrote the row';
INSERT INTO meta.table_keys VALUES ('ml.predictions', ['model_name', 'version', 'as_of', 'symbol', 'timeframe', 'ts']);
