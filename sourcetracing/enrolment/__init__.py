"""Sources enrolled from a few files: the library, its search, its decisions, and how well that works."""
