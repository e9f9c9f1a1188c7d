"""A first experiment on a corpus of the user's own: looked at, measured, chosen for its size, written down as YAML."""
