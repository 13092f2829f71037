"""What is drawn in a figure, read back from its axes."""

from __future__ import annotations

from matplotlib.axes import Axes


def points(axes: Axes, marker: str) -> list[tuple[float, float]]:
    """Return all points that are drawn with a marker."""
    return [
        (float(x), float(y))
        for line in axes.lines
        if line.get_marker() == marker
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
    ]


def labels(axes: Axes) -> list[str]:
    """Return the entries of the legend, none without one."""
    legend = axes.get_legend()
    return [] if legend is None else [text.get_text() for text in legend.get_texts()]


def ticks(axes: Axes) -> list[str]:
    """Return the names along the horizontal axis."""
    return [label.get_text() for label in axes.get_xticklabels()]
