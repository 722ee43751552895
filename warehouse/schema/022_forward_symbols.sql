-- A symbol may be left out or taken in while something is followed: what the ledger then lacks, or has too much of, is no
-- look-ahead. So each key says which symbols it followed.
ALTER TABLE research.forward_runs ADD COLUMN symbols VARCHAR;
COMMENT ON COLUMN research.forward_runs.symbols IS 'symbols that were followed, as a JSON list; null in rows from before this was stored';
