-- The review of each daily report, and what it says should be done next.
CREATE TABLE reports.ai_reviews (
    as_of TIMESTAMPTZ NOT NULL,
    report_date DATE NOT NULL,
    author VARCHAR NOT NULL,
    model VARCHAR,
    detail VARCHAR,
    verdict VARCHAR NOT NULL,
    findings VARCHAR NOT NULL,
    next_steps VARCHAR NOT NULL,
    summary VARCHAR NOT NULL,
    summary_author VARCHAR NOT NULL,
    summary_model VARCHAR,
    summary_detail VARCHAR,
    evidence_end TIMESTAMPTZ NOT NULL,
    usable_from TIMESTAMPTZ NOT NULL,
    cost_usd DOUBLE NOT NULL,
    calls VARCHAR NOT NULL,
    run_id VARCHAR NOT NULL
);
INSERT INTO meta.table_keys VALUES ('reports.ai_reviews', ['as_of']);
COMMENT ON TABLE reports.ai_reviews IS 'What a reviewer says of each day: written before the report of that day, which shows it.';
COMMENT ON COLUMN reports.ai_reviews.as_of IS 'end of the day that is reviewed (UTC): nothing later was known';
COMMENT ON COLUMN reports.ai_reviews.report_date IS 'UTC day that is reviewed';
COMMENT ON COLUMN reports.ai_reviews.author IS 'who reviewed: claude or rules';
COMMENT ON COLUMN reports.ai_reviews.model IS 'model that answered; null for rules';
COMMENT ON COLUMN reports.ai_reviews.detail IS 'why Claude did not review, in words; null where it did';
COMMENT ON COLUMN reports.ai_reviews.verdict IS 'the review in a few sentences';
COMMENT ON COLUMN reports.ai_reviews.findings IS 'what was noticed, as JSON list of severity (info, warning, error), about and text';
COMMENT ON COLUMN reports.ai_reviews.next_steps IS 'what to do next, as JSON list of text and usable_from, the most useful first';
COMMENT ON COLUMN reports.ai_reviews.summary IS 'the day in a few sentences';
COMMENT ON COLUMN reports.ai_reviews.summary_author IS 'who wrote the summary: claude or rules';
COMMENT ON COLUMN reports.ai_reviews.summary_model IS 'model that wrote it; null for rules';
COMMENT ON COLUMN reports.ai_reviews.summary_detail IS 'why Claude did not write it, in words; null where it did';
COMMENT ON COLUMN reports.ai_reviews.evidence_end IS 'end of the returns that the review rests on (UTC)';
COMMENT ON COLUMN reports.ai_reviews.usable_from IS 'first as-of whose exam does not overlap these returns (UTC): no earlier design, tuning or search may read the review';
COMMENT ON COLUMN reports.ai_reviews.cost_usd IS 'what the calls for review and summary cost when they were made, US dollars';
COMMENT ON COLUMN reports.ai_reviews.calls IS 'ids of their rows in research.llm_calls, as JSON list';
COMMENT ON COLUMN reports.ai_reviews.run_id IS 'Dagster run that wrote the row';
