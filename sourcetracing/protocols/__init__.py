"""Script 02: utterances.csv and protocol.csv, splits, and what splits share."""
