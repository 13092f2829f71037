"""An executable reproducibility study of selective fine-tuning for fairness.

The rooms, in the order in which they may import each other: ``names`` and ``settings`` (shared
words), ``data`` (what is studied), ``metrics``, ``models`` and ``training`` (what both papers
share), ``win`` and later ``aimfair`` (one paper each), ``study`` (runs, records, verdicts, book).
"""

import warnings

# Progress bars warn in a notebook without live widgets, which a page could not show anyway.
warnings.filterwarnings("ignore", message="IProgress not found")
