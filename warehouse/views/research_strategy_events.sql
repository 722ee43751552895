CREATE OR REPLACE VIEW research.strategy_events AS
SELECT *, begins_at AS "at" FROM research.strategy_lifecycle;
COMMENT ON VIEW research.strategy_events IS 'Older name of research.strategy_lifecycle, with begins_at also as "at"; columns and units as there.';
