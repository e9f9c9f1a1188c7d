"""Script 11: how far trivial cues alone get."""
