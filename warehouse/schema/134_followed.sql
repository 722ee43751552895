-- Archived strategies and books are followed on, for their evidence alone.
ALTER TABLE research.forward_runs ADD COLUMN archived BOOLEAN;
COMMENT ON COLUMN research.forward_runs.archived IS 'whether it was archived more than one cycle before: followed at midnights for its evidence alone, without a comparison and without drift tests; null in older rows: false';
COMMENT ON COLUMN research.forward_runs.ends_at IS 'end of tracking (UTC); null while active. Of a strategy or a book with evidence: the night by which less than 0.05 of its capital was left, or 730 days after activation, at least one cycle after it was archived; of others one cycle after replacement';
