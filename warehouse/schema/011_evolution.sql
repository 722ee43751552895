-- Evolution: who proposed what, on which budget and at which cost, what the exam said, and what may be learnt from when.
ALTER TABLE research.strategies ADD COLUMN parameters VARCHAR;
COMMENT ON COLUMN research.strategies.parameters IS 'value of each parameter, as JSON; null for rows written before there was this column: the defaults of the code';
COMMENT ON COLUMN research.strategies.source IS 'where the code comes from: library, tuned (the code of another version, other parameters) or designed';
COMMENT ON COLUMN research.strategies.author IS 'who wrote it or chose its parameters: library, search, claude or tuner';

ALTER TABLE research.trials ADD COLUMN purpose VARCHAR;
COMMENT ON COLUMN research.trials.purpose IS 'search for tries in a search window, which precedes every exam that they lead to; exam, or null, for everything else';
COMMENT ON COLUMN research.trials.author IS 'who proposed it: library, search, claude, tuner or user';

ALTER TABLE research.evidence ADD COLUMN search_trials INTEGER;
COMMENT ON COLUMN research.evidence.search_trials IS 'configurations tried by searches that saw any part of the 35 days before the as-of; they chose the finalists and do not count in trials';

ALTER TABLE research.strategy_scores ADD COLUMN version VARCHAR;
COMMENT ON COLUMN research.strategy_scores.version IS 'version of the strategy; null in rows of another system';
COMMENT ON COLUMN research.strategy_scores."window" IS 'length of the window, such as 7d for the exam or 28d for the search window before it; an SQL keyword: quote it';

ALTER TABLE research.knowledge_entries ADD COLUMN as_of TIMESTAMPTZ;
ALTER TABLE research.knowledge_entries ADD COLUMN window_start TIMESTAMPTZ;
ALTER TABLE research.knowledge_entries ADD COLUMN window_end TIMESTAMPTZ;
ALTER TABLE research.knowledge_entries ADD COLUMN usable_from TIMESTAMPTZ;
COMMENT ON COLUMN research.knowledge_entries.as_of IS 'as-of of the cycle that learnt it (UTC); null in rows of another system';
COMMENT ON COLUMN research.knowledge_entries.window_start IS 'start of the window whose returns it rests on (UTC); null where it rests on none, or nobody knows';
COMMENT ON COLUMN research.knowledge_entries.window_end IS 'end of that window (UTC)';
COMMENT ON COLUMN research.knowledge_entries.usable_from IS 'first as-of whose exam does not overlap that window (UTC): earlier cycles may not read it; null: 7 days after timestamp';

ALTER TABLE research.strategy_configs ADD COLUMN as_of TIMESTAMPTZ;
ALTER TABLE research.strategy_configs ADD COLUMN version VARCHAR;
ALTER TABLE research.strategy_configs ADD COLUMN previous_version VARCHAR;
ALTER TABLE research.strategy_configs ADD COLUMN previous_json VARCHAR;
ALTER TABLE research.strategy_configs ADD COLUMN accepted BOOLEAN;
COMMENT ON TABLE research.strategy_configs IS 'Parameters that strategies were given by hand, by another system or by tuning.';
COMMENT ON COLUMN research.strategy_configs.as_of IS 'as-of of the cycle that tuned it (UTC); null for rows by hand or of another system';
COMMENT ON COLUMN research.strategy_configs.version IS 'version that these parameters make';
COMMENT ON COLUMN research.strategy_configs.previous_version IS 'version that it would replace';
COMMENT ON COLUMN research.strategy_configs.previous_json IS 'parameters of that version, as JSON';
COMMENT ON COLUMN research.strategy_configs.accepted IS 'whether it replaced that version, its exam score being the better one';

CREATE TABLE research.designer_runs (
    as_of TIMESTAMPTZ NOT NULL,
    stage VARCHAR NOT NULL,
    designer VARCHAR NOT NULL,
    state VARCHAR NOT NULL,
    detail VARCHAR,
    budget INTEGER NOT NULL,
    evaluations INTEGER NOT NULL,
    proposals INTEGER NOT NULL,
    model VARCHAR,
    calls VARCHAR,
    cost_usd DOUBLE NOT NULL,
    run_id VARCHAR NOT NULL
);
INSERT INTO meta.table_keys VALUES ('research.designer_runs', ['as_of', 'stage', 'designer']);
COMMENT ON TABLE research.designer_runs IS 'What each author of designs and tunings did in a cycle, or why it did not run.';
COMMENT ON COLUMN research.designer_runs.as_of IS 'as-of of the cycle (UTC): nothing later was known';
COMMENT ON COLUMN research.designer_runs.stage IS 'tuning or design';
COMMENT ON COLUMN research.designer_runs.designer IS 'claude, search or tuner';
COMMENT ON COLUMN research.designer_runs.state IS 'done, partial (some of its calls brought no answer) or not run';
COMMENT ON COLUMN research.designer_runs.detail IS 'why not, or what was refused, in words';
COMMENT ON COLUMN research.designer_runs.budget IS 'most evaluations that it was given in the search window';
COMMENT ON COLUMN research.designer_runs.evaluations IS 'evaluations that it used';
COMMENT ON COLUMN research.designer_runs.proposals IS 'proposals that it made, those refused included';
COMMENT ON COLUMN research.designer_runs.model IS 'model that was asked; null where none was';
COMMENT ON COLUMN research.designer_runs.calls IS 'ids of its rows in research.llm_calls, as JSON list';
COMMENT ON COLUMN research.designer_runs.cost_usd IS 'what these calls cost when they were made, US dollars';
COMMENT ON COLUMN research.designer_runs.run_id IS 'Dagster run that wrote the row';

CREATE TABLE research.proposals (
    as_of TIMESTAMPTZ NOT NULL,
    stage VARCHAR NOT NULL,
    designer VARCHAR NOT NULL,
    slot INTEGER NOT NULL,
    name VARCHAR,
    version VARCHAR,
    parent_version VARCHAR,
    attempt INTEGER,
    changes VARCHAR,
    reason VARCHAR,
    fails_when VARCHAR,
    state VARCHAR NOT NULL,
    refusal VARCHAR,
    evaluations INTEGER NOT NULL,
    search_score DOUBLE,
    search_trades INTEGER,
    search_sharpe DOUBLE,
    objective DOUBLE,
    parent_search_score DOUBLE,
    parent_objective DOUBLE,
    cost_usd DOUBLE NOT NULL,
    run_id VARCHAR NOT NULL
);
INSERT INTO meta.table_keys VALUES ('research.proposals', ['as_of', 'stage', 'designer', 'slot']);
COMMENT ON TABLE research.proposals IS 'Every strategy or set of parameters that was proposed in a cycle, with its result in the search window; none of it rests on the exam.';
COMMENT ON COLUMN research.proposals.as_of IS 'as-of of the cycle (UTC): nothing later was known';
COMMENT ON COLUMN research.proposals.stage IS 'tuning or design';
COMMENT ON COLUMN research.proposals.designer IS 'claude, search or tuner';
COMMENT ON COLUMN research.proposals.slot IS 'number of the proposal within stage and designer, from 0, the most promising first';
COMMENT ON COLUMN research.proposals.name IS 'name of the strategy; null where the text was never a strategy';
COMMENT ON COLUMN research.proposals.version IS 'its version; null where no version came of it';
COMMENT ON COLUMN research.proposals.parent_version IS 'version that a tuning started from, and would replace';
COMMENT ON COLUMN research.proposals.attempt IS 'number of the tuning attempt in the life of the name, 1 to 3; null for designs';
COMMENT ON COLUMN research.proposals.changes IS 'parameters that changed, as JSON such as {"oversold": "30→28"}';
COMMENT ON COLUMN research.proposals.reason IS 'the idea of a design, or what a change of parameters answers';
COMMENT ON COLUMN research.proposals.fails_when IS 'market in which a design should lose, in its author''s words';
COMMENT ON COLUMN research.proposals.state IS 'sound (it may take the exam) or refused';
COMMENT ON COLUMN research.proposals.refusal IS 'why it was refused, in words';
COMMENT ON COLUMN research.proposals.evaluations IS 'evaluations in the search window that it took';
COMMENT ON COLUMN research.proposals.search_score IS 'score in the search window; null without trades';
COMMENT ON COLUMN research.proposals.search_trades IS 'number of trades in the search window';
COMMENT ON COLUMN research.proposals.search_sharpe IS 'Sharpe ratio in the search window, annualised over 365 days';
COMMENT ON COLUMN research.proposals.objective IS 'mean of the scores of the inner folds less their standard error: what was maximised';
COMMENT ON COLUMN research.proposals.parent_search_score IS 'score of the parent version in the same window';
COMMENT ON COLUMN research.proposals.parent_objective IS 'objective of the parent version';
COMMENT ON COLUMN research.proposals.cost_usd IS 'what Claude''s calls for it cost, US dollars';
COMMENT ON COLUMN research.proposals.run_id IS 'Dagster run that wrote the row';

CREATE TABLE research.finalists (
    as_of TIMESTAMPTZ NOT NULL,
    place INTEGER NOT NULL,
    stage VARCHAR NOT NULL,
    designer VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    version VARCHAR NOT NULL,
    parent_version VARCHAR,
    run_id VARCHAR NOT NULL
);
INSERT INTO meta.table_keys VALUES ('research.finalists', ['as_of', 'name', 'version']);
COMMENT ON TABLE research.finalists IS 'The proposals that take the exam of a cycle, at most 10, once each.';
COMMENT ON COLUMN research.finalists.as_of IS 'as-of of the cycle (UTC)';
COMMENT ON COLUMN research.finalists.place IS 'order in which they were chosen, from 1';
COMMENT ON COLUMN research.finalists.stage IS 'tuning or design';
COMMENT ON COLUMN research.finalists.designer IS 'claude, search or tuner';
COMMENT ON COLUMN research.finalists.name IS 'name of the strategy';
COMMENT ON COLUMN research.finalists.version IS 'its version';
COMMENT ON COLUMN research.finalists.parent_version IS 'version that a tuned one would replace';
COMMENT ON COLUMN research.finalists.run_id IS 'Dagster run that wrote the row';

CREATE TABLE research.exam_outcomes (
    as_of TIMESTAMPTZ NOT NULL,
    stage VARCHAR NOT NULL,
    designer VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    version VARCHAR NOT NULL,
    score DOUBLE,
    trades INTEGER,
    sharpe DOUBLE,
    parent_score DOUBLE,
    rank INTEGER,
    dsr DOUBLE,
    supported BOOLEAN,
    accepted BOOLEAN NOT NULL,
    replaces VARCHAR,
    reason VARCHAR NOT NULL,
    run_id VARCHAR NOT NULL
);
INSERT INTO meta.table_keys VALUES ('research.exam_outcomes', ['as_of', 'name', 'version']);
COMMENT ON TABLE research.exam_outcomes IS 'What became of each finalist in the one exam that it took.';
COMMENT ON COLUMN research.exam_outcomes.as_of IS 'as-of of the cycle (UTC), end of the exam';
COMMENT ON COLUMN research.exam_outcomes.stage IS 'tuning or design';
COMMENT ON COLUMN research.exam_outcomes.designer IS 'claude, search or tuner';
COMMENT ON COLUMN research.exam_outcomes.name IS 'name of the strategy';
COMMENT ON COLUMN research.exam_outcomes.version IS 'its version';
COMMENT ON COLUMN research.exam_outcomes.score IS 'score on the exam, which nothing before saw; null without trades, or where it was not run';
COMMENT ON COLUMN research.exam_outcomes.trades IS 'number of trades on the exam';
COMMENT ON COLUMN research.exam_outcomes.sharpe IS 'Sharpe ratio on the exam, annualised over 365 days';
COMMENT ON COLUMN research.exam_outcomes.parent_score IS 'score on the same exam of the version that a tuned one would replace';
COMMENT ON COLUMN research.exam_outcomes.rank IS 'place in the ranking; null where it was not ranked';
COMMENT ON COLUMN research.exam_outcomes.dsr IS 'deflated Sharpe ratio';
COMMENT ON COLUMN research.exam_outcomes.supported IS 'whether dsr is at least 0.95: a label that removes nobody';
COMMENT ON COLUMN research.exam_outcomes.accepted IS 'whether it is active from this cycle on';
COMMENT ON COLUMN research.exam_outcomes.replaces IS 'name of the strategy that made room for it; null where there was room, or where it was not accepted';
COMMENT ON COLUMN research.exam_outcomes.reason IS 'why, in words';
COMMENT ON COLUMN research.exam_outcomes.run_id IS 'Dagster run that wrote the row';
