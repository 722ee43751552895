-- The runs that wrote the report as of $as_of.
SELECT DISTINCT run_id FROM reports.daily_reports WHERE as_of = $as_of
