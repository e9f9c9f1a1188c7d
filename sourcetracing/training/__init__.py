"""Script 05: which runs an experiment has, how a network is built and trained, what a run leaves behind."""
