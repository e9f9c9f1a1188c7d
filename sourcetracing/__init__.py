"""Tracing the source of speech deepfakes. The folders below are the stations that data passes, in the order of docs/architecture.md."""
