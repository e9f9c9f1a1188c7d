"""Means over time of every layer, clean, RawBoost and codec copies."""
