"""Figures of merit, from arrays alone: classification, ranking, retrieval, calibration, intervals."""
