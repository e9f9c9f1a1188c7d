"""Script 04: acoustic variants of each utterance, front-ends, the feature store."""
