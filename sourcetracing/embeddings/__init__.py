"""Scripts 08 and 09: embeddings of runs, their pictures and what they are worth."""
