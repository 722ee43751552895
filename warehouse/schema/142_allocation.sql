-- Two more questions to a replay: what risk parity would have held, and what holding the universe of books earned.
ALTER TABLE replay.candidates ADD COLUMN parity DOUBLE;
COMMENT ON COLUMN replay.candidates.parity IS 'its share of the active set by hierarchical risk parity of the holdout; null if not active, or if it did not move';
ALTER TABLE replay.stretches ADD COLUMN universe_pct DOUBLE;
COMMENT ON COLUMN replay.stretches.universe_pct IS 'what holding the members that the universe had at the choice in equal parts earned in the stretch, percent, without costs; null where no book was ranked';
