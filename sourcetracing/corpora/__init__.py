"""Script 01 and 02: corpora of utterances (`corpus.Corpus`, one class each), and the noises that they are augmented with."""
