"""Chapter 20: how the bias is made, what the groups look like, and what the data must show."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from repro.chapters.aim import figures
from repro.chapters.aim.contrasts import ACC, EO
from repro.chapters.aim.data import (
    RealFaces,
    SyntheticSets,
    group_counts,
    group_images,
    real_faces,
    synthetic_faces,
)
from repro.chapters.aim.plans import of_seed
from repro.chapters.aim.tables import METRICS
from repro.data import toyfaces
from repro.data.splits import GROUPS
from repro.data.toyfaces.factors import ATTRIBUTES
from repro.study.profiles import Profile
from repro.study.records import Results
from repro.study.session import Part, View
from repro.study.tables import differences, mean_value, means

#: What the three classifiers are trained on, by their keys in the plan.
TRAINED_ON = {
    "balanced real": "balanced real images",
    "erm": "biased real images (ERM)",
    "synthetic only": "balanced synthetic images",
}
#: Each property that is a difference of two of them.
PAIRS = (
    ("biased − balanced", "erm", "balanced real"),
    ("synthetic − balanced", "synthetic only", "balanced real"),
)
#: Attributes that the renderer draws without regard to each other.
INDEPENDENT = ("Smiling", "Male", "Young")
#: Of ERM's equalised odds at most so much may be left after synthetic images alone.
PREMISE = 0.5
_SEED = 11  # of the toy faces that are shown; no classifier has anything to do with it


@dataclass(frozen=True)
class Drawn:
    """The real images of a seed and, where the profile has any, the synthetic ones."""

    real: RealFaces
    synthetic: SyntheticSets | None


def drawn(profile: Profile, seed: int) -> Drawn:
    """Read or draw the real parts of a seed, and its S1 and S2."""
    data, asked = of_seed(profile.faces.data, seed), profile.faces.synthetic
    real = real_faces(data)
    return Drawn(real, None if asked is None else synthetic_faces(data, asked, seed=seed))


def groups(images: Drawn, *, title: str) -> list[Part]:
    """Return how many images of each group are in each set, and what was left out."""
    real, synthetic = images.real, images.synthetic
    sets = {"real, training": real.train, "validation": real.validation, "test": real.test}
    if synthetic is not None:
        sets |= {"synthetic S1": synthetic.biased, "synthetic S2": synthetic.balanced}
    counts = {name: group_counts(faces) for name, faces in sets.items()}
    figure = figures.group_counts_figure(counts, title=title)
    if not real.skipped:
        return [figure]
    reasons = (f"{count:,} ({reason})" for reason, count in real.skipped.items())
    return [figure, f"Left out: {'; '.join(reasons)}"]


def averages(images: Drawn, *, data_label: str) -> Figure:
    """Draw the mean image of each group of the test part."""
    return figures.averages_figure(
        group_images(images.real.test), title=f"test part of {data_label}"
    )


def toy_faces_figure(size: int, *, columns: int = 10) -> Figure:
    """Draw toy faces of each group in both domains, ``size`` pixels a side but at least 64."""
    rows = {}
    for domain in toyfaces.DOMAINS:
        faces = toyfaces.generate(
            toyfaces.ToyFaces(n=400, seed=_SEED, size=max(size, 64), domain=domain)
        )
        target, protected = (faces.attribute(name) for name in ("Smiling", "Male"))
        for t, p in GROUPS:
            of_group = np.flatnonzero((target == t) & (protected == p))
            rows[f"{domain} ({t},{p})"] = faces.images[of_group[:columns]]
    return figures.faces_figure(rows, title="t = Smiling, p = Male; drawn by this project")


def attribute_shares(n: int = 400) -> pd.DataFrame:
    """Return how many of n toy faces have each attribute."""
    faces = toyfaces.factors(toyfaces.ToyFaces(n=n, seed=_SEED))
    shares = faces[list(ATTRIBUTES)].mean().map("{:.0%}".format)
    return shares.rename_axis("attribute").reset_index(name="share with value 1")


def independence_in_words(n: int = 4000) -> str:
    """Say how far two of the independent attributes are correlated among n toy faces.

    Without correlation that of a sample is about normal with standard deviation 1 / sqrt(n).
    """
    faces = toyfaces.factors(toyfaces.ToyFaces(n=n, seed=_SEED + 1))
    largest = max(
        abs(np.corrcoef(faces[a], faces[b])[0, 1]) for a, b in combinations(INDEPENDENT, 2)
    )
    *first, last = INDEPENDENT
    return (
        f"Largest correlation between {', '.join(first)} and {last} among {n:,} faces: "
        f"{largest:.3f}; by chance that of a pair is below {1.96 / np.sqrt(n):.3f} nineteen times "
        "out of twenty."
    )


def compared(view: View) -> list[Part]:
    """Return what the three classifiers reach in each group, their differences, and the premise."""
    if not view.results:
        return []
    return [
        figures.group_accuracy_figure(view.results, TRAINED_ON, title=view.label),
        means(view.results, METRICS, TRAINED_ON),
        differences(view.results, METRICS, PAIRS),
        premise_in_words(view.results),
        view,
    ]


def premise(results: Results) -> float | None:
    """Return equalised odds (max) after synthetic images alone as a share of ERM's, or None.

    Of means over seeds. AIM-Fair rests on its being small; None where one of them was not run, or
    ERM errs in all groups alike.
    """
    if not {"synthetic only", "erm"} <= results.keys():
        return None
    alone, erm = (mean_value(results[key], EO) for key in ("synthetic only", "erm"))
    return alone / erm if erm else None


def premise_in_words(results: Results) -> str:
    """Say whether the premise holds: at most `PREMISE` of ERM's equalised odds."""
    if not {"synthetic only", "erm"} <= results.keys():
        return "The premise cannot be read here: there are no synthetic images."
    share = premise(results)
    if share is None:
        return "The premise cannot be read here: ERM errs in all groups alike."
    pair = [results[key] for key in ("synthetic only", "erm")]
    alone, erm = (100 * mean_value(records, EO) for records in pair)
    right, of_erm = (100 * mean_value(records, ACC) for records in pair)
    return (
        f"The premise **{'holds' if share <= PREMISE else 'fails'}**: equalised odds (max) of "
        f"{alone:.1f} after synthetic images alone, {share:.0%} of ERM's {erm:.1f}. Who guesses is "
        f"fair, too: accuracies are {right:.1f} and {of_erm:.1f}."
    )
