"""Random input through every door: it is answered, or refused in one line."""
