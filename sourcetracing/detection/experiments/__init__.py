"""Layer sweep, augmented baseline, mixtures, pruning, augmentation after pruning."""
