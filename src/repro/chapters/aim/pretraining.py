"""Chapter 23: a classifier, trained on biased photographs, fails its small groups."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from repro.chapters.aim import plans
from repro.chapters.aim.contrasts import ACC, PAIRED, TABLE_3, WST, task
from repro.chapters.aim.figures import group_accuracy_figure
from repro.chapters.aim.tables import METRICS, table_3
from repro.chapters.reported import aim_value
from repro.chapters.substitutions import ERM
from repro.metrics import flatten_metrics, metrics_from_counts
from repro.study.claims import Claim, Contrast
from repro.study.figures import palette
from repro.study.profiles import Profile, load_profile
from repro.study.provenance import precision_in_words
from repro.study.records import Results
from repro.study.session import Part, View
from repro.study.tables import means

NOTEBOOK = "23_pretraining"

NAMES = {"erm": "ERM, biased real images", "synthetic only": "balanced synthetic images"}
#: Equalised odds under its three definitions -> heading of its column.
ODDS = {
    "equalized_odds_max": "max (AIM-Fair's tables)",
    "equalized_odds_mean": "mean (its code)",
    "equalized_odds_sum": "sum (WIN)",
}


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


def recipe(view: View) -> pd.DataFrame:
    """Return the settings of a view's trainings beside the paper's, those of profile ``paper``."""
    theirs = load_profile("paper")
    computed = precision_in_words(r for group in view.results.values() for r in group)
    ours = _recipe(view.profile, computed)
    papers = _recipe(theirs, theirs.faces.pretrain.precision)
    rows = [(setting, ours[setting], papers[setting]) for setting in ours]
    return pd.DataFrame(rows, columns=["setting", "this call", "the paper"])


def _recipe(profile: Profile, precision: str) -> dict[str, str]:
    """Return what a classifier is trained on and how, in words."""
    faces, how = profile.faces, profile.faces.pretrain
    return {
        "images": f"{profile.data_label('aim-fair')}, {faces.data.total:,}",
        "model": f"{faces.architecture}, width {faces.width}",
        "initialisation": faces.initialisation,
        "rate": f"{how.learning_rate:g}",
        "divided by ten after epoch": ", ".join(map(str, how.milestones)) or "never",
        "epochs": str(how.epochs),
        "images a batch": str(how.batch_size),
        "crops": f"{100 * how.smallest_crop:g} % to 100 % of the frame",
        "precision": precision,
    }


def beside_paper(view: View) -> list[Part]:
    """Return the accuracy of each group and the metrics, beside what the paper reports."""
    paper = table_3(view)
    figure = group_accuracy_figure(view.results, NAMES, reported=paper, title=view.label)
    return [figure, means(view.results, METRICS, NAMES, paper), view]


def odds(results: Results) -> pd.DataFrame:
    """Return equalised odds under its three definitions, from the same confusion counts."""
    return means(results, ODDS, NAMES)


def history_figure(view: View) -> Figure:
    """Draw loss, and accuracy and worst-group accuracy on validation images, epoch by epoch."""
    shown = {key: name for key, name in NAMES.items() if key in view.results}
    figure, panels = plt.subplots(1, 3, figsize=(9.5, 2.9))
    colours = palette("colorblind", len(shown))
    for (key, name), colour in zip(shown.items(), colours, strict=True):
        for seed, record in enumerate(view.results[key]):
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
    figure.suptitle(view.label, fontsize="medium")
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
