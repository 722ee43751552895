CREATE OR REPLACE VIEW meta.storage AS
SELECT *, measured_at AS "at" FROM meta.storage_history;
COMMENT ON VIEW meta.storage IS 'Older name of meta.storage_history, with measured_at also as "at"; columns and units as there.';
