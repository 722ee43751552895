-- What to expect is said of books as well, from a panel of their own.
COMMENT ON COLUMN research.evidence.expected_sharpe IS 'Sharpe ratio to expect of a strategy or a book, annualised: between what is usual for such versions and what this one did in the holdouts so far, by random effects; does not affect the ranking; null with fewer than 10 versions or 4 holdouts that do not overlap';
