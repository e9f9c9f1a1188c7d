"""Features, or waveforms, to (embedding (B, E), logits (B, classes)); each class has `embedding_dim` = E.

Features come as (B, num_features, num_frames); the `*_raw` back-ends take waveforms (B, samples). A new one is a file here and an entry in
sourcetracing/settings/backends.py.
"""
