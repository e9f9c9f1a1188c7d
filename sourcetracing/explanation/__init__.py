"""Why an answer came out: what of a sound it rests on, by band and by time."""
