-- What the warning about sizes says now.
COMMENT ON COLUMN research.evidence.volume_share_median IS 'assumed fill (10,000 USDT a lane) as a share of its bar''s traded value, median over bars in which something was traded, fraction';
COMMENT ON COLUMN research.evidence.volume_warning IS 'set where fills are above 1 % of their bar''s value or in bars in which nothing was traded, or positions are below the smallest order of their instrument (fractional lots assumed)';
