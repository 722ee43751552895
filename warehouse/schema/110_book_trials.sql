-- Backtests of books are tries, too.
COMMENT ON COLUMN research.trials.kind IS 'strategy, model, ensemble or book';
COMMENT ON COLUMN research.trials.lanes IS 'lanes that were scored, symbol:timeframe, joined by commas: choosing lanes is a try, too; of a book, the rule of its universe and its timeframe';
