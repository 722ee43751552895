-- Drift of a model's inputs stands in research.drift beside the drift of its results: what the columns hold then.
COMMENT ON COLUMN research.drift.metric IS 'net_return (mean hourly net return, a fraction), accuracy (share of right predictions), log_loss (natural units, lower is better) or features (of a model''s inputs the one that moved most: root mean square distance of its shares below the nine deciles of the training window, 0 to 1)';
COMMENT ON COLUMN research.drift.promise IS 'estimate at activation, in the unit of the metric: of the exam for strategies, of held-out data for models; of features the distance that chance alone gives';
COMMENT ON COLUMN research.drift.promise_se IS 'its standard error, from blocks of 24 hours; of features the standard deviation of the distance by chance';
COMMENT ON COLUMN research.drift.difference IS 'promise less forward, turned so that above 0 is worse than promised; of features forward less promise';
COMMENT ON COLUMN research.drift.rows IS 'predictions of the forward period, of features its bars; null for net_return';
COMMENT ON COLUMN research.drift.promise_days IS 'days behind the promise; of features those of the training window';
