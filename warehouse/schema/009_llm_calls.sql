-- Calls of Claude: what was asked, what came back, what it cost.
CREATE TABLE research.llm_calls (
    id VARCHAR NOT NULL,
    role VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    prompt_name VARCHAR NOT NULL,
    prompt_version INTEGER NOT NULL,
    prompt_hash VARCHAR NOT NULL,
    "sequence" INTEGER NOT NULL,
    round INTEGER NOT NULL,
    prompt VARCHAR NOT NULL,
    reply VARCHAR,
    outcome VARCHAR NOT NULL,
    detail VARCHAR,
    stop_reason VARCHAR,
    input_tokens BIGINT,
    cache_written_tokens BIGINT,
    cached_tokens BIGINT,
    output_tokens BIGINT,
    cost_usd DOUBLE NOT NULL,
    worst_case_usd DOUBLE NOT NULL,
    latency_seconds DOUBLE,
    request_id VARCHAR,
    as_of TIMESTAMPTZ NOT NULL,
    called_at TIMESTAMPTZ NOT NULL,
    run_id VARCHAR NOT NULL
);
INSERT INTO meta.table_keys VALUES ('research.llm_calls', ['id']);
COMMENT ON TABLE research.llm_calls IS 'Every call of Claude, made or not: the ledger of the daily budget, and what a cycle that is materialised again replays.';
COMMENT ON COLUMN research.llm_calls.id IS 'random identifier of the call';
COMMENT ON COLUMN research.llm_calls.role IS 'what it was asked as: designer, reviewer, tuner or summariser';
COMMENT ON COLUMN research.llm_calls.model IS 'model that was asked';
COMMENT ON COLUMN research.llm_calls.prompt_name IS 'name of the prompt file';
COMMENT ON COLUMN research.llm_calls.prompt_version IS 'version of the prompt file';
COMMENT ON COLUMN research.llm_calls.prompt_hash IS 'SHA-256 of prompt and answer schema, the same for the repair round';
COMMENT ON COLUMN research.llm_calls."sequence" IS 'how many times the same run had asked the same before, from 0';
COMMENT ON COLUMN research.llm_calls.round IS '0 for the question, 1 for the repair of an answer that did not fit';
COMMENT ON COLUMN research.llm_calls.prompt IS 'the texts as sent, as JSON (system, question)';
COMMENT ON COLUMN research.llm_calls.reply IS 'text of the answer; null where there was none';
COMMENT ON COLUMN research.llm_calls.outcome IS 'answered, invalid, refusal, max_tokens, timeout, network, overloaded, rejected, broken, no_key or budget; reserved while it runs, or for ever if its process was killed';
COMMENT ON COLUMN research.llm_calls.detail IS 'why it was not answered, in words';
COMMENT ON COLUMN research.llm_calls.stop_reason IS 'why the model stopped, as the API says it';
COMMENT ON COLUMN research.llm_calls.input_tokens IS 'tokens read at the full price';
COMMENT ON COLUMN research.llm_calls.cache_written_tokens IS 'tokens read and written to the prompt cache';
COMMENT ON COLUMN research.llm_calls.cached_tokens IS 'tokens read from the prompt cache';
COMMENT ON COLUMN research.llm_calls.output_tokens IS 'tokens written, thinking included';
COMMENT ON COLUMN research.llm_calls.cost_usd IS 'cost by the price table, US dollars; the worst case while it runs, and where an answer may have been paid for but was lost';
COMMENT ON COLUMN research.llm_calls.worst_case_usd IS 'most that the call could cost, US dollars, held against the budget before it was made';
COMMENT ON COLUMN research.llm_calls.latency_seconds IS 'time from sending to the answer or the failure, retries included, seconds';
COMMENT ON COLUMN research.llm_calls.request_id IS 'the API''s own identifier of the request';
COMMENT ON COLUMN research.llm_calls.as_of IS 'as-of of the cycle (UTC): nothing later was known';
COMMENT ON COLUMN research.llm_calls.called_at IS 'when it was called (UTC, wall clock); its day is the day of the budget';
COMMENT ON COLUMN research.llm_calls.run_id IS 'Dagster run that wrote the row';
