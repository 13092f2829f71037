"""What AIM-Fair's claims are made of: rows of its tables, words, and contrasts between runs."""

from __future__ import annotations

from collections.abc import Sequence

from repro.study.contrasts import Contrast
from repro.study.profiles import Profile
from repro.study.reported import aim_value

ACC, WST, EO, STD = "accuracy", "worst_group_accuracy", "equalized_odds_max", "group_std"
#: The paper's metrics, in short for tables.
SHORT = {ACC: "ACC", WST: "WST", EO: "EO (max)", STD: "STD"}
BETTER = {ACC: "greater", WST: "greater", EO: "less", STD: "less"}

#: Rows of the paper's tables, by the keys of the plans.
TABLE_3 = {
    "erm": "Baseline (ERM)",
    "synthetic only": "Trained on synthetic data",
    "supplementation": "Data supplementation",
    "repairing": "Data repairing",
    "linear probing": "Linear probing",
    "fully fine-tuning": "Fully fine-tuning",
    "mask": "AIM-Fair",
}
TABLE_4 = {
    "cosine mask": "Selective fine-tuning (cosine similarity)",
    "mask": "AIM-Fair (absolute difference)",
}
#: What the paper calls the best of each kind.
BEST_IN_TABLE_4 = {
    "random": "Best random selection",
    "update": "Best sub-tuning (updating one block)",
    "freeze": "Best sub-tuning (freezing one block)",
}
FIGURE_2 = {"fully fine-tuning": "freeze none (fully fine-tuning)", "freeze fc": "freeze fc"} | {
    f"freeze layer{i}": f"freeze block-{i}" for i in (1, 2, 3, 4)
}
FIGURE_5 = {f"k {k}": f"top-k = {k}" for k in (40, 45, 50, 55, 60)}
TABLE_2 = {
    f"{percent} %, {key}": f"{name} @ {percent}% real"
    for percent in (50, 25, 10)
    for key, name in (("erm", "ERM"), ("mask", "AIM-Fair"))
}
WORDS = {
    "erm": "ERM",
    "synthetic only": "training on synthetic images",
    "supplementation": "data supplementation",
    "repairing": "data repairing",
    "linear probing": "linear probing",
    "fully fine-tuning": "full fine-tuning",
    "mask": "SFT",
    "cosine mask": "SFT with a cosine mask",
}

PAIRED = (
    "WST and EO are taken for each seed and paired; the paper takes the minimum of seed-averaged "
    "group accuracies"
)
SYNTHETIC = "synthetic images from this project's own source, not Stable Diffusion v2.1"
GRAMMAR = "prompts written by a grammar, not by GPT-4"
_REDUCED = (
    "of CelebA a copy of 46,715 of the 202,599 images: most of the training images are others than "
    "the authors', by the same rule"
)


def settings(profile: Profile) -> list[str]:
    """Return in which settings a profile differs from the paper's."""
    faces, how = profile.faces, profile.faces.pretrain
    differs = [
        (faces.data.size != 224, f"images at {faces.data.size}x{faces.data.size}, not 224x224"),
        (faces.data.total != 20_000, f"{faces.data.total:,} training images, not 20,000"),
        (faces.data.name == "celeba" and faces.data.edition == "reduced", _REDUCED),
        (faces.architecture != "resnet18", f"{faces.architecture}, not ResNet-18"),
        (faces.width != 64, f"ResNet-18 at {faces.width}/64 of its width"),
        (
            faces.initialisation != "imagenet",
            f"initialisation {faces.initialisation}, not ImageNet",
        ),
        (
            (how.learning_rate, how.epochs) != (0.01, 15),
            f"pre-training at rate {how.learning_rate:g} for {how.epochs} epochs, not 0.01 for 15",
        ),
        (how.smallest_crop != 0.08, f"crops of at least {how.smallest_crop:.0%}, not 8 %"),
        (how.precision != "float32", f"{how.precision} autocast, not float32"),
        (
            len(profile.seeds_of("aim-fair")) != 10,
            f"{len(profile.seeds_of('aim-fair'))} seeds, not 10",
        ),
    ]
    return [words for different, words in differs if different]


def task(profile: Profile) -> str:
    """Return the task as the reported numbers name it: ``dataset/target/protected``."""
    data = profile.faces.data
    return f"{data.name}/{data.target}/{data.protected}"


def difference(
    profile: Profile, table: str, first: str | None, second: str | None, metric: str
) -> float | None:
    """Return first - second as the paper reports it, or None where it does not."""
    if first is None or second is None:
        return None
    a = aim_value(table, task(profile), first, metric)
    b = aim_value(table, task(profile), second, metric)
    return None if a is None or b is None else a - b


def versus(
    profile: Profile,
    first: str,
    second: str,
    metrics: Sequence[str],
    *,
    table: str = "3",
    rows: tuple[str | None, str | None] = (None, None),
    slack: float = 0.0,
) -> list[Contrast]:
    """Return the contrasts that say that ``first`` is better than ``second``."""
    return [
        Contrast(
            f"{WORDS.get(first, first)} against {WORDS.get(second, second)}: {SHORT[metric]}",
            first,
            second,
            metric,
            "greater" if BETTER[metric] == "greater" else "less",
            reported=difference(profile, table, *rows, metric),
            slack=slack,
        )
        for metric in metrics
    ]
