"""One file at a time: which source, how sure, or unknown; export of a trained system."""
