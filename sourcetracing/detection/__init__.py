"""Bona fide or synthetic: a street of its own, with scripts below scripts/detection/."""
