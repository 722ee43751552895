-- The active strategies as a whole have a record of their own: would following the desk have paid?
COMMENT ON COLUMN research.evidence_daily.kind IS 'strategy, model, ensemble, book or active set (the active strategies as a whole, at equal capital, those of each cycle from its as-of on)';
