"""The library of enrolled sources: sources that a trained run is shown a few files of, without training."""
