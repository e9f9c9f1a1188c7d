"""Script 06: scores of trained runs, and the reports per test set."""
