"""Script 03: pseudo-speakers."""
