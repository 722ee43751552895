-- Books are followed forward, too: the kinds in the tables of the ledger, of evidence and of drift tests.
COMMENT ON COLUMN research.forward_entries.kind IS 'strategy, model, ensemble or book';
COMMENT ON COLUMN research.forward_trades.kind IS 'strategy, model, ensemble or book';
COMMENT ON COLUMN research.forward_equity.kind IS 'strategy, model, ensemble or book';
COMMENT ON COLUMN research.forward_runs.kind IS 'strategy, model, ensemble or book';
COMMENT ON COLUMN research.forward_validation.kind IS 'strategy, model, ensemble or book';
COMMENT ON COLUMN research.evidence_daily.kind IS 'strategy, model, ensemble or book';
COMMENT ON COLUMN research.drift_tests.kind IS 'strategy, model, ensemble or book';
COMMENT ON COLUMN research.forward_entries.entry_price IS 'entry fill after slippage, in quote currency; of a book, of its first fill';
COMMENT ON COLUMN research.forward_entries.quantity IS 'size of the position, in base units; of a book, of its first fill';
COMMENT ON COLUMN research.forward_trades.quantity IS 'size of the position, in base units; of a book, the largest held';
COMMENT ON COLUMN research.forward_trades.exit_reason IS 'what closed it: signal, reversal, time, stop, trail, target, liquidation or delisted; of a book rebalance, reversal, left (the universe), ended (its bars) or liquidation';
