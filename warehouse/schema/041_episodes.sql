-- How many independent episodes of trades a Sharpe ratio rests on, and how many of them lost.
ALTER TABLE research.evidence ADD COLUMN episodes INTEGER;
ALTER TABLE research.evidence ADD COLUMN winners INTEGER;
ALTER TABLE research.evidence ADD COLUMN losers INTEGER;
COMMENT ON COLUMN research.evidence.episodes IS 'independent episodes of trades of the scored lanes: trades open at one moment, on whatever lanes, are one';
COMMENT ON COLUMN research.evidence.winners IS 'episodes with a net result above zero';
COMMENT ON COLUMN research.evidence.losers IS 'episodes with a net result below zero: with few of them, a high ratio says little, since a loss that was never seen is in no standard error';
COMMENT ON COLUMN research.evidence.psr IS 'probabilistic Sharpe ratio: probability that the true ratio is above zero, had this been the only try, by the least favourable of five standard errors and Student''s distribution; null with fewer than ten episodes, three winners or three losers. Rows written before episodes was there: by Mertens'' error and the normal distribution alone';
COMMENT ON COLUMN research.evidence.dsr IS 'deflated Sharpe ratio: the same as psr after choosing the best of all tries (Bailey and Lopez de Prado 2014); null where psr is';
COMMENT ON COLUMN research.evidence.min_track_record_hours IS 'hours needed for 95 % confidence that the ratio is above zero; null for a ratio of zero or less, and where psr is null';
COMMENT ON COLUMN research.exam_outcomes.dsr IS 'deflated Sharpe ratio; null with fewer than ten independent episodes of trades, three winners or three losers among them';
