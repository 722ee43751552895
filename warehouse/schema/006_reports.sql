-- Daily reports.
CREATE SCHEMA IF NOT EXISTS reports;

CREATE TABLE reports.daily_reports (
    id VARCHAR NOT NULL,
    report_date DATE NOT NULL,
    report_json VARCHAR NOT NULL,
    strategy_changes VARCHAR,
    model_changes VARCHAR,
    ensemble_changes VARCHAR,
    top_strategies VARCHAR,
    top_models VARCHAR,
    ai_recommendations VARCHAR,
    "timestamp" TIMESTAMPTZ NOT NULL,
    as_of TIMESTAMPTZ NOT NULL,
    snapshot_id BIGINT,
    run_id VARCHAR NOT NULL
);
COMMENT ON TABLE reports.daily_reports IS 'The report of each UTC day.';
COMMENT ON COLUMN reports.daily_reports.id IS 'hash of report date and as-of';
COMMENT ON COLUMN reports.daily_reports.report_date IS 'UTC day that the report covers';
COMMENT ON COLUMN reports.daily_reports.report_json IS 'the whole report, as JSON';
COMMENT ON COLUMN reports.daily_reports.strategy_changes IS 'strategies designed, tuned and archived, as JSON';
COMMENT ON COLUMN reports.daily_reports.model_changes IS 'models trained and archived, as JSON';
COMMENT ON COLUMN reports.daily_reports.ensemble_changes IS 'ensembles tested, as JSON';
COMMENT ON COLUMN reports.daily_reports.top_strategies IS 'the five best strategies, as JSON list';
COMMENT ON COLUMN reports.daily_reports.top_models IS 'the five best models, as JSON list';
COMMENT ON COLUMN reports.daily_reports.ai_recommendations IS 'what the reviewer recommends; null where nobody reviewed';
COMMENT ON COLUMN reports.daily_reports."timestamp" IS 'when the row was written (UTC, wall clock)';
COMMENT ON COLUMN reports.daily_reports.as_of IS 'as-of of the cycle (UTC): nothing later was known';
COMMENT ON COLUMN reports.daily_reports.snapshot_id IS 'snapshot of the warehouse that the report was made from';
COMMENT ON COLUMN reports.daily_reports.run_id IS 'Dagster run that wrote the row';
INSERT INTO meta.table_keys VALUES ('reports.daily_reports', ['id']);
