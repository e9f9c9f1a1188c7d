"""The page of the detection experiments."""
