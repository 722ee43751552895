CREATE OR REPLACE VIEW research.drift AS
SELECT *, expected AS promise, expected_se AS promise_se, expected_days AS promise_days FROM research.drift_tests;
COMMENT ON VIEW research.drift IS
    'Older name of research.drift_tests, with expected, expected_se and expected_days also as promise, promise_se and promise_days; columns and units as there.';
