"""Data sets of the study: where they come from, how they are read, encoded and split.

This package knows nothing of methods, and imports torch only where tensors are made, so that
reading labels, records and profiles stays fast.
"""
