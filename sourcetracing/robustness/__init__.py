"""Script 12: what of a run survives codecs, telephones, noise and other post-processing."""
