-- What a language model knows of a period, it may have designed for: a good holdout there shows nothing.
ALTER TABLE research.strategies ADD COLUMN knows_until TIMESTAMPTZ;
COMMENT ON COLUMN research.strategies.knows_until IS 'end of what the language model that designed or tuned it may know of the market (UTC): its knowledge cut-off, or the as-of where none is known; null without a model';
ALTER TABLE research.evidence ADD COLUMN author_may_know BOOLEAN;
COMMENT ON COLUMN research.evidence.author_may_know IS 'whether a model that designed or tuned the strategy may know days of this holdout: it then counts for nothing, only forward days do; null if no model had a part in it, or the market is synthetic';
COMMENT ON COLUMN research.evidence.supported IS 'whether dsr is at least 0.95 and author_may_know is not true; informational, does not affect the ranking';
