"""Chapter 23: a classifier, trained on biased photographs, fails its small groups."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from repro.chapters.aim import plans
from repro.chapters.aim.contrasts import ACC, PAIRED, TABLE_3, WST, task
from repro.chapters.reported import aim_value
from repro.chapters.substitutions import ERM
from repro.metrics import flatten_metrics, metrics_from_counts
from repro.study.claims import Claim, Contrast
from repro.study.profiles import Profile
from repro.study.records import Results

NOTEBOOK = "23_pretraining"


def _biased(profile: Profile) -> list[Contrast]:
    """Ask whether each small group is worse off than the large one of the same target."""
    row = TABLE_3["erm"]

    def reported(small: str, large: str) -> float | None:
        a, b = (aim_value("3", task(profile), row, metric) for metric in (small, large))
        return None if a is None or b is None else a - b

    pairs = [
        ("(0,0) against (0,1)", "accuracy_t0_p0", "accuracy_t0_p1"),
        ("(1,1) against (1,0)", "accuracy_t1_p1", "accuracy_t1_p0"),
    ]
    return [
        Contrast(
            f"ERM: accuracy of group {words}",
            "erm",
            "erm",
            small,
            "less",
            second_quantity=large,
            reported=reported(small, large),
        )
        for words, small, large in pairs
    ]


def history_figure(results: Results, names: Mapping[str, str], *, title: str = "") -> Figure:
    """Draw loss, and accuracy and worst-group accuracy on validation images, epoch by epoch."""
    shown = {key: name for key, name in names.items() if key in results}
    figure, panels = plt.subplots(1, 3, figsize=(9.5, 2.9))
    colours = sns.color_palette("colorblind", len(shown))
    for (key, name), colour in zip(shown.items(), colours, strict=True):
        for seed, record in enumerate(results[key]):
            history = record.body["history"]
            epochs = range(1, len(history) + 1)
            metrics = [
                flatten_metrics(metrics_from_counts(entry["counts"]["validation"]))
                for entry in history
            ]
            label = name if seed == 0 else None
            kept = record.results["epoch"]
            curves = (
                [entry["loss"] for entry in history],
                [100 * m[ACC] for m in metrics],
                [100 * m[WST] for m in metrics],
            )
            for axes, curve in zip(panels, curves, strict=True):
                axes.plot(epochs, curve, color=colour, alpha=0.7, label=label)
                axes.plot(kept, curve[kept - 1], "o", color=colour, markersize=5)
    for axes, name in zip(
        panels, ("training loss", "validation accuracy (%)", "its worst group (%)"), strict=True
    ):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylabel(name)
    panels[0].legend(fontsize="small")
    figure.suptitle(title, fontsize="medium")
    return figure


CLAIMS = (
    Claim(
        "biased-training",
        "Table 3, ERM",
        "Trained on biased real images, the classifier fails the two groups that were small.",
        NOTEBOOK,
        plans.pretraining,
        _biased,
        (PAIRED,),
        paper="aim-fair",
        touches=ERM,
    ),
)
