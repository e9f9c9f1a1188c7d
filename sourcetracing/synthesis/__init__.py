"""Script 01, demo: the speech, noises and rooms that the project makes itself."""
