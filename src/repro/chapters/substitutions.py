"""What a profile substitutes: where its settings differ from a paper's, in words.

A paper's settings are those of profile ``paper``, with prompts by GPT-4. A field that has no words
here has a reason in the tests why a difference of it is no substitution.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from repro.chapters.aim.synthetic import generation_settings
from repro.chapters.reported import aim_fair_reported
from repro.data.registry import FACE_SETS
from repro.settings import FaceData, ImageOptimisation, leaves
from repro.study.profiles import Paper, Profile, load_profile, project_root

#: What a claim can rest on beside what all do (test images, network, seeds). In order, how the real
#: training set is made; training from an initialisation; fine-tuning; the pool of synthetic
#: images; who wrote its prompts; how many images and prompts the balanced set S2 has; the biased
#: set S1; the mask; the images of each set of prompts (Table 5); the depth of WIN's classifier.
PARTS = frozenset(
    ("real", "pretrain", "finetune", "synthetic", "prompts", "S2", "S1", "mask", "prompt sets")
) | {"depth"}
#: Of claims on classifiers that are trained on real images; are fine-tuned; by a mask; of Table 5.
ERM = frozenset(("real", "pretrain"))
TUNED = ERM | {"synthetic", "prompts", "S2", "finetune"}
MASKED = TUNED | {"mask", "S1"}
PROMPT_SETS = frozenset(("pretrain", "synthetic", "prompts", "prompt sets"))

_SCHEDULERS = {"as shipped": "as shipped", "ddim": "DDIM", "dpm++": "DPM-Solver++"}
_GPT_4 = "gpt-4"
_NO_POSE = ("Female", "White")  # the one task whose prompts have no head pose in the release
_WIN_TASKS = (("celeba", "Wavy_Hair", "Male"), ("lfwa", "Male", "Heavy_Makeup"))


@dataclass(frozen=True)
class Entry:
    """Words for fields that belong together, from (ours, the paper's); None: no substitution."""

    fields: tuple[str, ...]
    words: Callable[[Profile, Profile], str | None]
    parts: frozenset[str] = frozenset()  # empty: touches every claim


def substitutions(
    profile: Profile, paper: Paper, touches: frozenset[str] = PARTS
) -> tuple[str, ...]:
    """Return in which settings a profile differs from a paper's, as far as a claim rests on them.

    Parameters
    ----------
    profile
        The settings that the claim is judged under.
    paper
        Part of the study.
    touches
        What the claim rests on, of `PARTS`.

    Raises
    ------
    ValueError
        For a part that is none.
    """
    if unknown := touches - PARTS:
        raise ValueError(f"unknown parts {sorted(unknown)} (valid: {', '.join(sorted(PARTS))})")
    theirs = _papers(project_root())
    ours, own = leaves(profile), leaves(theirs)
    found = []
    for entry in ENTRIES[paper]:
        # A part of the settings that one of the two does not have is nothing to compare.
        names = [name for name in entry.fields if name in ours and name in own]
        if (not entry.parts or entry.parts & touches) and any(ours[n] != own[n] for n in names):
            found.append(entry.words(profile, theirs))
    seeds, paper_seeds = (len(one.seeds_of(paper)) for one in (profile, theirs))
    found.append(f"{seeds} seeds, not {paper_seeds}" if seeds != paper_seeds else None)
    return tuple(words for words in found if words)


@lru_cache(maxsize=2)
def _papers(root: Path) -> Profile:
    return load_profile("paper", {"faces.synthetic.writer": _GPT_4})


def _plain(field: str, words: str, *parts: str) -> Entry:
    """Return an entry for a field of numbers: ``words`` has {ours} and {theirs}."""

    def said(ours: Profile, own: Profile) -> str:
        return words.format(ours=leaves(ours)[field], theirs=leaves(own)[field])

    return Entry((field,), said, frozenset(parts))


def _each(
    words: str,
    told: Callable[[Profile, Profile], dict[str, str] | None],
    fields: Iterable[str],
    *parts: str,
) -> Entry:
    """Return an entry that says every value that differs.

    ``told`` takes a profile and ours, and returns its values by keys with a place for them; None
    where there is nothing to compare.
    """

    def said(ours: Profile, own: Profile) -> str | None:
        values, theirs = told(ours, ours), told(own, ours)
        if values is None or theirs is None:
            return None
        differ = {key: v for key, v in values.items() if v != theirs[key]}
        shown = [f"{key.format(v)} (not {theirs[key]})" for key, v in differ.items()]
        return f"{words} {', '.join(shown)}" if shown else None

    return Entry(tuple(fields), said, frozenset(parts))


def _called(data: FaceData) -> str:
    return FACE_SETS[data.name].in_words


def _task(ours: Profile, own: Profile) -> str | None:
    data, theirs = ours.faces.data, own.faces.data
    task = f"{data.target} | {data.protected}"
    known = f"{data.name}/{data.target}/{data.protected}" in set(aim_fair_reported()["task"])
    if data.name == "toyfaces":
        return f"{_called(data)}, {task}, not {_called(theirs)}"
    return (
        f"{_called(data)}, {task}, {'another' if known else 'none'} of the paper's tasks, not "
        f"{_called(theirs)}, {theirs.target} | {theirs.protected}"
    )


def _bias(ours: Profile, own: Profile) -> str:
    ratio, theirs = ours.faces.data.bias_ratio, own.faces.data.bias_ratio
    words = "as the data are" if ratio is None else f"at {ratio:.2g}"
    return f"training groups {words}, not at {theirs:.2g}"


def _edition(ours: Profile, own: Profile) -> str | None:
    return FACE_SETS[ours.faces.data.name].editions.get(ours.faces.data.edition)


def _training_images(ours: Profile, own: Profile) -> str:
    data, theirs = ours.faces.data, own.faces.data
    of = "" if data.name == theirs.name else f" of {_called(theirs)}"
    return f"{data.total * data.fraction:,.0f} training images, not {theirs.total:,}{of}"


def _stage(name: str, words: str) -> Entry:
    """Return the entry of one stage of training."""
    fields = [f"faces.{name}.{f}" for f in ImageOptimisation.model_fields if f != "precision"]
    return _each(words, lambda one, _: _told(getattr(one.faces, name)), fields, name)


def _told(how: ImageOptimisation) -> dict[str, str]:
    # A milestone at the last epoch or after it changes nothing.
    at = [str(m) for m in how.milestones if m < how.epochs]
    return {
        "rate {}": f"{how.learning_rate:g}",
        "epochs {}": str(how.epochs),
        "milestones {}": " and ".join(at) or "none",
        "batches of {}": str(how.batch_size),
        "momentum {}": f"{how.momentum:g}",
        "weight decay {}": f"{how.weight_decay:g}",
        "epoch kept by {}": how.selection.replace("_", " "),
        "crops of {} of the frame and more": f"{100 * how.smallest_crop:g} %",
        "{} flipped": f"{100 * how.flip:g} %",
    }


def _generator(ours: Profile, own: Profile) -> str | None:
    drawn, theirs = ours.faces.synthetic, own.faces.synthetic
    assert drawn is not None
    assert theirs is not None
    assert theirs.generator is not None
    if drawn.source == "studio":
        return (
            "synthetic images by the renderer of the toy faces, not by Stable Diffusion v2.1-base"
        )
    assert drawn.generator is not None
    name = Path(drawn.generator).name
    if name == Path(theirs.generator).name:  # from whatever mirror or folder
        return None
    return f"synthetic images by generator '{name}', not by Stable Diffusion v2.1-base"


def _sampler(one: Profile, ours: Profile) -> dict[str, str] | None:
    assert one.faces.synthetic is not None
    if one.faces.synthetic.source == "studio":
        return None
    how = generation_settings(one.faces.data, one.faces.synthetic)
    return {
        "{} steps": str(how.steps),
        "scheduler {}": _SCHEDULERS[how.scheduler],
        "guidance {}": f"{how.guidance:g}",
        "{} pixels a side": f"{how.size}",
    }


def _prompts(ours: Profile, own: Profile) -> str | None:
    drawn = ours.faces.synthetic
    # The authors' own lists are no substitution.
    if drawn is None or drawn.source == "studio" or drawn.prompts_file:
        return None
    if drawn.writer is None:
        return "prompts written by a grammar, not by GPT-4"
    same = drawn.writer.lower().startswith(_GPT_4)
    return None if same else f"prompts written by {drawn.writer}, not by GPT-4"


def _prompt_set(one: Profile, ours: Profile) -> dict[str, str] | None:
    drawn, task = one.faces.synthetic, (ours.faces.data.target, ours.faces.data.protected)
    assert drawn is not None
    if drawn.source == "studio" or drawn.prompts_file:
        return None
    kind = "contextual" if one is not ours and task == _NO_POSE else drawn.prompts
    return {"{}": str(kind), "{} a group": str(drawn.prompts_per_group)}


def _prompt_total(ours: Profile, own: Profile) -> str | None:
    totals = [
        one.faces.prompt_total or (one.faces.synthetic and one.faces.synthetic.total)
        for one in (ours, own)
    ]
    if None in totals or totals[0] == totals[1]:
        return None
    return f"{totals[0]:,} images of each set of prompts, not {totals[1]:,}"


def _network(one: Profile, ours: Profile) -> dict[str, str]:
    faces = one.faces
    return {
        "{}": faces.architecture,
        "width {}": str(faces.width),
        "initialisation {}": faces.initialisation,
    }


def _win_task(ours: Profile, own: Profile) -> str | None:
    data, task = ours.faces.data, ours.win.faces
    if task is None or (data.name, task.target, task.protected) in _WIN_TASKS:
        return None
    return (
        f"{_called(data)}, {task.target} | {task.protected}, not CelebA's WavyHair | Male or "
        "LFW+a's gender | HeavyMakeup"
    )


def _win_bias(ours: Profile, own: Profile) -> str:
    task = ours.win.faces
    assert task is not None
    return (
        f"groups (0,0) and (1,1) are {task.bias_ratio:.2g} times as large as the others in every "
        "part, not as the data are"
    )


def _win_network(one: Profile, ours: Profile) -> dict[str, str]:
    told, task = _network(one, ours), ours.win.faces
    if one.win.faces and one.win.faces.width:
        told["width {}"] = str(one.win.faces.width)
    if task is not None and task.backbone != "erm":  # it starts from random weights
        del told["initialisation {}"]
    return told


_IMAGES = (
    Entry(("faces.data.name", "faces.data.edition"), _edition),
    _plain("faces.data.size", "images at {ours}x{ours}, not {theirs}x{theirs}"),
)
_NETWORK = ("faces.architecture", "faces.width", "faces.initialisation")
#: How a difference is said, in the order of the pages, by part of the study.
ENTRIES: dict[Paper, tuple[Entry, ...]] = {
    "aim-fair": (
        Entry(tuple(f"faces.data.{n}" for n in ("name", "target", "protected")), _task),
        *_IMAGES,
        _each("network:", _network, _NETWORK),
        Entry(("faces.data.total", "faces.data.fraction"), _training_images, frozenset(("real",))),
        Entry(("faces.data.bias_ratio",), _bias, frozenset(("real",))),
        _stage("pretrain", "training:"),
        Entry(
            ("faces.synthetic.source", "faces.synthetic.generator", "faces.synthetic.revision"),
            _generator,
            frozenset(("synthetic",)),
        ),
        _each(
            "drawn with",
            _sampler,
            (f"faces.synthetic.{n}" for n in ("generator", "scheduler", "steps", "guidance")),
            "synthetic",
        ),
        Entry(
            ("faces.synthetic.writer", "faces.synthetic.prompts_file"),
            _prompts,
            frozenset(("prompts",)),
        ),
        _each(
            "prompts:",
            _prompt_set,
            ("faces.synthetic.prompts", "faces.synthetic.prompts_per_group"),
            "S2",
        ),
        _plain(
            "faces.synthetic.pool",
            "a pool of {ours:,} synthetic images a group, not {theirs:,}",
            "synthetic",
        ),
        _plain("faces.synthetic.total", "{ours:,} synthetic images in a set, not {theirs:,}", "S2"),
        _plain("faces.synthetic.amount", "{ours:g} times as many in the balanced set", "S2"),
        _plain("faces.synthetic.bias_ratio", "groups of S1 at {ours:.2g}, not {theirs:.2g}", "S1"),
        Entry(
            ("faces.prompt_total", "faces.synthetic.total"),
            _prompt_total,
            frozenset(("prompt sets",)),
        ),
        _plain("faces.k", "k = {ours}, not {theirs}", "mask"),
        _plain(
            "faces.gradient_batches", "gradients of {ours} batches of each set, not of all", "mask"
        ),
        _stage("finetune", "fine-tuning:"),
    ),
    "win": (
        _plain("data.name", "toycensus (simulated), not UCI Adult"),
        _plain("data.missing", "missing values: {ours}, not {theirs}"),
        _plain("data.include_protected", "the protected attribute is among the features"),
        _plain("win.architecture", "classifier {ours}, not {theirs}", "depth"),
        _plain("win.hidden", "hidden layers of width {ours}, not {theirs}"),
    ),
    "win-faces": (
        Entry(("faces.data.name", "win.faces.target", "win.faces.protected"), _win_task),
        *_IMAGES,
        _each("network:", _win_network, (*_NETWORK, "win.faces.width")),
        _plain(
            "win.faces.backbone",
            "features of a classifier of FairFace's labels of age, gender and ancestry",
        ),
        Entry(("win.faces.bias_ratio",), _win_bias),
    ),
}
