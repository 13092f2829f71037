"""Tables that one chapter shows: too particular for :mod:`repro.study.tables`, too long for a cell.

Each function takes records and returns a table of text, differences and rates in points.
"""

from __future__ import annotations

from repro.chapters.win.contrasts import DP, EO

#: What a regulariser is meant to close.
CLOSES = {"dp": DP, "eo": EO}
