"""Features, or waveforms, to (embedding, logits)."""
