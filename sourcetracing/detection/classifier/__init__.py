"""Logistic regression to its optimum, for one training set or many mixtures."""
