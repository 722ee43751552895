CREATE OR REPLACE VIEW research.exam_outcomes AS FROM research.holdout_outcomes;
COMMENT ON VIEW research.exam_outcomes IS 'Older name of research.holdout_outcomes; columns and units as there.';
