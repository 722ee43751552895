-- What to expect of a strategy beside what it did, what its tries are worth, and a second opinion on luck.
ALTER TABLE research.evidence ADD COLUMN effective_trials DOUBLE;
ALTER TABLE research.evidence ADD COLUMN step_m BOOLEAN;
ALTER TABLE research.evidence ADD COLUMN sharpe_error DOUBLE;
ALTER TABLE research.evidence ADD COLUMN expected_sharpe DOUBLE;
ALTER TABLE research.evidence ADD COLUMN expected_low DOUBLE;
ALTER TABLE research.evidence ADD COLUMN expected_high DOUBLE;
ALTER TABLE research.evidence ADD COLUMN expected_windows INTEGER;
COMMENT ON COLUMN research.evidence.effective_trials IS 'independent tries that trials are worth by the eigenvalues of their correlations, at least the square root of trials; dsr is computed with it; null in older rows, whose dsr is computed with trials';
COMMENT ON COLUMN research.evidence.dsr IS 'deflated Sharpe ratio: the same after choosing the best of effective_trials independent tries (Bailey and Lopez de Prado 2014)';
COMMENT ON COLUMN research.evidence.step_m IS 'second opinion: whether StepM (Romano and Wolf 2005) names it among those of the holdout that earn more than nothing, at 5 % for all of them together; null in older rows, or where it could not be computed';
COMMENT ON COLUMN research.evidence.sharpe_error IS 'standard error of the Sharpe ratio, annualised as the ratio: the largest of four estimates; null if returns do not vary';
COMMENT ON COLUMN research.evidence.expected_sharpe IS 'Sharpe ratio to expect, annualised: between what is usual for such strategies and what this one did in the holdouts so far, by random effects; does not affect the ranking; null with fewer than 10 versions or 4 holdouts that do not overlap';
COMMENT ON COLUMN research.evidence.expected_low IS 'lower end of the interval that holds the annualised Sharpe ratio of the next 28 days with a probability of 80 %';
COMMENT ON COLUMN research.evidence.expected_high IS 'upper end of that interval';
COMMENT ON COLUMN research.evidence.expected_windows IS 'holdouts of the version behind expected_sharpe, none of which overlap';
