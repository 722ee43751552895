CREATE OR REPLACE VIEW research.cycle_events AS
SELECT *, happened_at AS "at" FROM research.cycle_history;
COMMENT ON VIEW research.cycle_events IS 'Older name of research.cycle_history, with happened_at also as "at"; columns and units as there.';
