"""Script 01: files from servers and the Hub, resumable and verified."""
