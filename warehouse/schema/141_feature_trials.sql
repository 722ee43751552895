-- Looks at the returns after a feature's values are tries, too.
COMMENT ON COLUMN research.trials.kind IS 'strategy, model, ensemble, book or feature (a look at the returns after its values, over one horizon)';
