-- Inputs of models that are written as text where drift persists: what was proposed, why it was refused, what came of it.
CREATE TABLE ml.written_inputs (
    as_of TIMESTAMPTZ NOT NULL,
    model_name VARCHAR NOT NULL,
    attempt INTEGER NOT NULL,
    author VARCHAR NOT NULL,
    state VARCHAR NOT NULL,
    name VARCHAR,
    text VARCHAR,
    text_hash VARCHAR,
    idea VARCHAR,
    instead_of VARCHAR,
    reason VARCHAR NOT NULL,
    decision VARCHAR,
    model VARCHAR,
    calls VARCHAR,
    cost_usd DOUBLE NOT NULL,
    snapshot_id BIGINT,
    run_id VARCHAR NOT NULL
);
INSERT INTO meta.table_keys VALUES ('ml.written_inputs', ['as_of', 'model_name', 'attempt']);
COMMENT ON TABLE ml.written_inputs IS 'Inputs proposed as text for models whose drift persists. A text is data: parsed against an allow-list, never imported or executed.';
COMMENT ON COLUMN ml.written_inputs.as_of IS 'as-of of the cycle (UTC): nothing later was known';
COMMENT ON COLUMN ml.written_inputs.model_name IS 'name of the model that drifts';
COMMENT ON COLUMN ml.written_inputs.attempt IS '1 for the first answer of a cycle, 2 for the answer to its refusal';
COMMENT ON COLUMN ml.written_inputs.author IS 'who was asked: claude';
COMMENT ON COLUMN ml.written_inputs.state IS 'sound (compiled, causal, free of price levels), refused, or not run (there was no answer)';
COMMENT ON COLUMN ml.written_inputs.name IS 'feature: written_ and twelve digits of text_hash; null where the text is none';
COMMENT ON COLUMN ml.written_inputs.text IS 'the expression as it was answered; null without an answer';
COMMENT ON COLUMN ml.written_inputs.text_hash IS 'SHA-256 of the text without blanks around it; null without an answer';
COMMENT ON COLUMN ml.written_inputs.idea IS 'what it should show, in the author''s words; null without an answer';
COMMENT ON COLUMN ml.written_inputs.instead_of IS 'inputs that permutation importance found useless before the search''s window ended, as JSON list';
COMMENT ON COLUMN ml.written_inputs.reason IS 'why it was refused or not run; what the search made of it where it is sound';
COMMENT ON COLUMN ml.written_inputs.decision IS 'adopted (the challenger with it trains from the next cycle on) or kept (the champion stays, without it); null where it is not sound';
COMMENT ON COLUMN ml.written_inputs.model IS 'model of Claude that answered; null without an answer';
COMMENT ON COLUMN ml.written_inputs.calls IS 'ids in research.llm_calls, as JSON list; null without a call';
COMMENT ON COLUMN ml.written_inputs.cost_usd IS 'what the calls cost when they were made, US dollars';
COMMENT ON COLUMN ml.written_inputs.snapshot_id IS 'snapshot of the warehouse that was read';
COMMENT ON COLUMN ml.written_inputs.run_id IS 'Dagster run that wrote the row';
