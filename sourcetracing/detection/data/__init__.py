"""Corpora, the one table of files, sets of the tables, the demo."""
