"""Script 10: are these two from one source?"""
