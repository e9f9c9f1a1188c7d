"""Losses, and what mixes the rows that they see."""
