-- An hour without bars has no return: whoever takes ratios or means of hourly rows is to know which hours those are.
ALTER TABLE research.equity ADD COLUMN with_bars BOOLEAN;
COMMENT ON COLUMN research.equity.with_bars IS 'whether a bar of any lane closed in the hour that ends here: without, the hour has no return, not one of zero; null for the first hour of the window, and in rows written before the column was there, which count as true';
ALTER TABLE research.forward_equity ADD COLUMN with_bars BOOLEAN;
COMMENT ON COLUMN research.forward_equity.with_bars IS 'whether a bar of any lane closed in the hour that ends here: without, the hour has no return, not one of zero; null in rows written before the column was there, which count as true';
