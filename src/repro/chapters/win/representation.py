"""Chapter 40: where bias hides, in the representation before the last layer (Figure 1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from repro.chapters.reported import win_value
from repro.chapters.win.bias_returns import NOTEBOOK, fair_start, fair_then_tuned
from repro.chapters.win.configs import fair_key
from repro.chapters.win.contrasts import EO, SCALE, SILENT, SPLIT, unfair
from repro.chapters.win.plans import constrained
from repro.chapters.win.weight_importance import probes
from repro.study.claims import Check, Claim, Contrast
from repro.study.figures import GROUPS, settings_figure
from repro.study.profiles import Profile
from repro.study.runs import Record
from repro.study.session import View


def _unconstrained_unfair(profile: Profile) -> Sequence[Check]:
    """Return the check of Figure 1's unfair model, which is the original one of Table 3."""
    told = win_value("3", "original pre-trained model", EO)
    return (unfair(told, fair_then_tuned, "unconstrained, before", "the unconstrained model"),)


def _separation(quantity: str, words: str) -> Callable[[Profile], list[Contrast]]:
    return lambda profile: [
        Contrast(
            f"unfair model against {fair_key(*how).upper()}: AUC of telling positively "
            f"predicted men and women apart {words}",
            "unconstrained",
            fair_key(*how),
            quantity,
            "greater",
            check=fair_start(*how),
        )
        for how in constrained(profile)
    ]


def strongest(view: View) -> dict[str, Record]:
    """Return the first seed's unconstrained model and those of the strongest constraints."""
    fair = [how for how in constrained(view.profile) if fair_key(*how) in view.results]
    most = max((intensity for _, intensity in fair), default=0.0)
    return {"unconstrained": view.results["unconstrained"][0]} | {
        f"fair: {fair_key(*how).upper()}": view.results[fair_key(*how)][0]
        for how in fair
        if how[1] == most
    }


def separation_figure(view: View) -> Figure:
    """Draw how well positively predicted men and women can be told apart in each model."""
    return settings_figure(
        view.results,
        ["results:separation_auc_pca", "results:separation_auc"],
        names={key: key for key in view.results},
        title=view.label,
    )


def pca_figure(view: View) -> Figure:
    """Draw where positively predicted men and women lie in the plane of two components."""
    records = strongest(view)
    figure, panels = plt.subplots(1, len(records), figsize=(3.5 * len(records), 3.5), squeeze=False)
    for axes, (name, record) in zip(panels[0], records.items(), strict=True):
        results = record.results
        if results.get("pca_density") is None:
            axes.set_title(f"{name}\ntoo few positively predicted to draw", fontsize="small")
            continue
        # A margin of empty cells lets every contour close.
        centres = [_padded_centres(np.asarray(edges)) for edges in results["pca_edges"]]
        both = np.pad(np.asarray(results["pca_density"], dtype=float), ((0, 0), (3, 3), (3, 3)))
        for p, density in enumerate(both):
            smooth = _smooth(density)
            levels = np.max(smooth) * np.array([0.1, 0.3, 0.6])
            axes.contour(
                centres[0], centres[1], smooth.T, levels=levels, colors=GROUPS[p][1],
                linewidths=[0.8, 1.3, 2],
            )  # fmt: skip
            axes.plot([], [], color=GROUPS[p][1], label=GROUPS[p][0])
        for axis, limit in ((0, axes.set_xlim), (1, axes.set_ylim)):  # without the long tail
            mass = both.sum(0).sum(1 - axis).cumsum() / both.sum()
            inside = np.flatnonzero((mass > 0.002) & (mass < 0.992))
            low, high = max(inside[0] - 3, 0), min(inside[-1] + 3, len(mass) - 1)
            limit(centres[axis][low], centres[axis][high])
        auc = results["separation_auc_pca"]
        axes.set_title(f"{name}\nAUC {auc:.2f}", fontsize="small")
        axes.set_xlabel("first component")
    panels[0][0].set_ylabel("second component")
    # One legend is enough, in the first panel that has something to explain.
    for axes in [one for one in panels[0] if one.get_legend_handles_labels()[0]][:1]:
        axes.legend(fontsize="x-small")
    figure.suptitle(f"{view.label}, first seed", fontsize="medium")
    return figure


def _padded_centres(edges: np.ndarray) -> np.ndarray:
    """Return the centres of the cells between ``edges``, and of three more on either side."""
    width = edges[1] - edges[0]
    outside = np.arange(1, 4) * width
    centres = (edges[:-1] + edges[1:]) / 2
    return np.concatenate([centres[0] - outside[::-1], centres, centres[-1] + outside])


def _smooth(density: np.ndarray) -> np.ndarray:
    """Blur counts with a small binomial kernel, so that contours of a sparse group close."""
    kernel = np.array([1, 4, 6, 4, 1]) / 16
    for axis in (0, 1):
        density = np.apply_along_axis(np.convolve, axis, density, kernel, "same")
    return density


CLAIMS = (
    Claim(
        "representation",
        "Figure 1",
        "Before the last layer positively predicted men and women lie further apart in an unfair "
        "pre-trained model than in a fair one.",
        NOTEBOOK,
        probes,
        _separation("results:separation_auc_pca", "in the PCA plane"),
        (
            "distance in the plotted plane is measured as the cross-validated AUC of a linear "
            "discriminant on the first two principal components",
            SILENT,
            SCALE,
            SPLIT,
        ),
        _separation("results:separation_auc", "from the whole representation"),
        checks=_unconstrained_unfair,
    ),
)
