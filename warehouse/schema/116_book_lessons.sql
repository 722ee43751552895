-- Lessons from books are for designers of books, those from strategies for designers of strategies.
ALTER TABLE research.knowledge_entries ADD COLUMN kind VARCHAR DEFAULT 'strategy';
COMMENT ON COLUMN research.knowledge_entries.kind IS 'what it was learnt from: strategy or book; null: the desk as a whole, or another system; designers of strategies read such rows';
COMMENT ON COLUMN research.knowledge_entries.strategy IS 'name of the strategy or book; null where it is about none';
COMMENT ON COLUMN research.knowledge_entries.metadata IS 'further facts, as JSON; for the outcome of a finalist (category change): families, the families of features or of a book''s scores that it reads, and earned, whether it made money on the holdout after costs';
COMMENT ON COLUMN research.knowledge_entries.usable_from IS 'first as-of whose holdout does not overlap that window (UTC), for books at its full length: earlier cycles may not read it; null: 7 days after timestamp';
