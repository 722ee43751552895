-- What a designer was asked, and what a row of the lifecycle or of knowledge may say.
ALTER TABLE research.strategies ADD COLUMN design_prompt VARCHAR;
COMMENT ON COLUMN research.strategies.design_prompt IS 'what Claude was asked when it wrote this text: the part that differs from call to call, as sent; null where nobody was asked';
COMMENT ON COLUMN research.strategy_backtest_results.design_prompt IS 'what Claude was asked when it wrote the strategy: the part that differs from call to call, as sent; null where nobody was, and in the rows of lanes';
COMMENT ON COLUMN research.strategy_events.event IS 'state that begins: candidate, active, tuning, archived, or refused, which it fails the causality test; validated: it passed that test; repeats: it took the exam and its positions were those of another, so it was not ranked';
COMMENT ON COLUMN research.knowledge_entries.metadata IS 'further facts, as JSON; of an exam (category change): families, the feature families that the finalist reads, and earned, whether it made money there, costs paid';
