"""Script 07: known or unknown source."""
