-- Evidence that grows from day to day: the e-process of everything that is tracked forward.
CREATE TABLE research.evidence_daily (
    kind VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    version VARCHAR NOT NULL,
    activated_at TIMESTAMPTZ NOT NULL,
    day TIMESTAMPTZ NOT NULL,
    net_return DOUBLE,
    deviation DOUBLE NOT NULL,
    loss_bound DOUBLE NOT NULL,
    gain_bound DOUBLE NOT NULL,
    expected DOUBLE NOT NULL,
    weight DOUBLE NOT NULL,
    stake DOUBLE NOT NULL,
    capital DOUBLE NOT NULL,
    capital_worse DOUBLE NOT NULL,
    broken BOOLEAN NOT NULL,
    confirmed BOOLEAN NOT NULL,
    as_of TIMESTAMPTZ NOT NULL,
    snapshot_id BIGINT,
    run_id VARCHAR NOT NULL
);
INSERT INTO meta.table_keys VALUES ('research.evidence_daily', ['kind', 'name', 'version', 'activated_at', 'day']);
COMMENT ON TABLE research.evidence_daily IS 'Evidence from forward days: for each record of the forward ledger and each day, the capital of a bettor on a positive mean return; each day is written once.';
COMMENT ON COLUMN research.evidence_daily.kind IS 'strategy, model or ensemble';
COMMENT ON COLUMN research.evidence_daily.name IS 'name of what is tracked';
COMMENT ON COLUMN research.evidence_daily.version IS 'its version; of models and ensembles the one in force when the record began';
COMMENT ON COLUMN research.evidence_daily.activated_at IS 'moment from which it is tracked, without a position (UTC)';
COMMENT ON COLUMN research.evidence_daily.day IS 'the day (UTC), by its beginning';
COMMENT ON COLUMN research.evidence_daily.net_return IS 'net return of the day on fixed capital, a fraction; null if no symbol had a bar';
COMMENT ON COLUMN research.evidence_daily.deviation IS 'standard deviation of a daily net return before activation, a fraction; fixed from then on';
COMMENT ON COLUMN research.evidence_daily.loss_bound IS 'loss that no five days are assumed to exceed, a fraction; fixed at activation';
COMMENT ON COLUMN research.evidence_daily.gain_bound IS 'the same for gains above the expected ones; fixed at activation';
COMMENT ON COLUMN research.evidence_daily.expected IS 'mean daily net return of the holdout, a fraction; fixed at activation';
COMMENT ON COLUMN research.evidence_daily.weight IS 'weight among the records that began at the same time, by rank in the holdout, mean 1; fixed at activation';
COMMENT ON COLUMN research.evidence_daily.stake IS 'what a net return of 1 would have added to the capital, as a share of it';
COMMENT ON COLUMN research.evidence_daily.capital IS 'capital of the bettor on a positive mean at the end of the day, 1 at activation; 20 is evidence at 5 %';
COMMENT ON COLUMN research.evidence_daily.capital_worse IS 'capital of a bettor on a mean below the expected one; 20 is evidence at 5 % that results are worse than expected';
COMMENT ON COLUMN research.evidence_daily.broken IS 'whether the assumption is broken: five days have lost more than loss_bound, so that the capital is 0 for good';
COMMENT ON COLUMN research.evidence_daily.confirmed IS 'whether it is confirmed at the end of the day: at most a tenth of all confirmed records of a year are expected to be worth nothing';
COMMENT ON COLUMN research.evidence_daily.as_of IS 'night that wrote the row (UTC): nothing later was known';
COMMENT ON COLUMN research.evidence_daily.snapshot_id IS 'snapshot of the warehouse that was read';
COMMENT ON COLUMN research.evidence_daily.run_id IS 'Dagster run that wrote the row';
