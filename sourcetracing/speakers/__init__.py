"""Pseudo-speakers: an embedding for each clean utterance, clusters of them, and which speakers a training set has seen (spec 2.8)."""
