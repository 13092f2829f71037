"""Data sets of the study: where they come from, how they are read, encoded and split.

This package knows nothing of methods and imports no deep-learning library, so that reading
records and drawing figures stays fast.
"""
