"""Profiles: one name that sets every size of the study (``profiles/*.yaml``).

Cheap to import (no torch): the sweep reads profiles to plan its jobs.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from repro.aimfair.strategies import COMPARED, CONTROLS, rows_of
from repro.data.registry import FACE_SETS, TABLES, DataSet
from repro.generator.settings import FACES, FACES_AGES, FACES_EVENED, TOYFACES, GeneratorSettings
from repro.names import check_name
from repro.settings import (
    BackboneSettings,
    DataSettings,
    Edition,
    FaceData,
    FaceSetName,
    ImageOptimisation,
    Optimisation,
    SettingsError,
    Strict,
    SyntheticFaces,
    nested,
    validate,
)
from repro.study.once import once


def _different(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(seeds)) < len(seeds):  # one seed twice is not two seeds
        raise ValueError("every seed may be named once")
    return seeds


Seed = Annotated[int, Field(ge=0, lt=2**31)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Share = Annotated[float, Field(gt=0, le=1)]
Numbers = Literal["portable", "native"]
#: Where the training of a classifier begins.
Start = Literal["scratch", "imagenet", "fairface", "file"]
Seeds = Annotated[tuple[Seed, ...], Field(min_length=1), AfterValidator(_different)]
# The parts of the study, each with its own data and seeds: a paper, or WIN's half on images.
Paper = Literal["win", "win-faces", "aim-fair"]


class Budget(Strict):
    """A budget for pre-training and one for fine-tuning."""

    pretrain: Optimisation
    finetune: Optimisation


class WinTask(Strict):
    """Another set of images and the task of WIN on it."""

    name: FaceSetName
    edition: Edition = "reduced"
    target: str
    protected: str


class WinFaceSettings(Strict):
    """Sizes and choices of WIN on images; the images are those of the profile's faces.

    One backbone, trained once, serves every seed, as one set of ImageNet weights would: what the
    seeds vary is the split and the head.
    """

    seeds: Seeds | None = None  # None: those of the profile
    seeds_per_job: int | None = Field(default=None, ge=1)
    #: what learnt the features, ERM on the profile's faces or a classifier of FairFace's labels
    backbone: Literal["erm", "fairface"] = "erm"
    width: int | None = Field(default=None, ge=4)  # of the backbone; None: that of the faces
    backbone_seed: Seed | None = None  # of the backbone's training; None: the first of the faces'
    target: str = "Smiling"
    protected: str = "Male"
    stacked_target: str | None = None  # of heads on AIM-Fair's classifiers; None: the target
    also_tasks: tuple[WinTask, ...] = ()  # other images on which Figure 4 is run, too
    #: size of groups (0,0) and (1,1) against the others, in every part; None leaves the data as is
    bias_ratio: float | None = Field(default=None, gt=0, le=1)
    architectures: tuple[str, ...] = ()  # Table 4, beside that of the faces
    pretrain: Optimisation = Optimisation(
        learning_rates=(0.001, 0.003, 0.01), epochs=20, batch_size=256
    )
    finetune: Optimisation = Optimisation(
        learning_rates=(0.0003, 0.001, 0.003, 0.01), epochs=20, batch_size=256
    )
    ranks: tuple[Annotated[int, Field(ge=1, le=2)], ...] = (1, 2)  # all that two classes have
    #: of the head with one logit for each attribute of the images (CelebA has 40)
    label_ranks: tuple[Annotated[int, Field(ge=1)], ...] = (1, 2, 4, 8, 16, 32, 40)
    control_rank: int = Field(default=2, ge=1)  # at which importances are compared on that head
    importance_floor: float = Field(default=1e-6, ge=0, lt=1)  # relative to the largest row
    #: of TL's regulariser for equalised odds; the largest is the positive control. On ten pilot
    #: seeds of toy faces 3 brought equalised odds down by 12 points, as much as the paper reports
    #: of WIN on CelebA, and .9, the paper's largest on Adult, by 5
    control_intensities: tuple[Annotated[float, Field(gt=0)], ...] = (0.9, 3.0)

    @model_validator(mode="after")
    def _of_a_backbone_that_knows_none(self) -> Self:
        if self.also_tasks and self.backbone != "fairface":
            raise ValueError(
                "also_tasks take backbone 'fairface', as one that learnt the profile's own faces "
                "is another on each set; leave them out by win.faces.also_tasks: []"
            )
        if len({(t.name, t.target, t.protected) for t in self.also_tasks}) < len(self.also_tasks):
            raise ValueError("a task may be named once in also_tasks")
        return self


class WinSettings(Strict):
    """Sizes and choices of the WIN half (Zhang and Zhou, 2024)."""

    architecture: str = "mlp-2"  # two-layer ReLU MLP, section "Adult" of the paper
    hidden: int = Field(default=10, ge=1)  # width of every hidden layer; the head is hidden x 2
    pretrain: Optimisation
    finetune: Optimisation
    constraints: tuple[Literal["dp", "eo"], ...] = ("dp", "eo")
    intensities: tuple[Fraction, ...] = (0.1, 0.5, 0.9)  # Tables 2 and 3
    architectures: tuple[str, ...] = ("mlp-3", "mlp-4", "mlp-5")  # Table 4
    ranks: tuple[int, ...] = (1, 2)  # all that a two-class head has
    weights: tuple[Fraction, ...] = (0.5, 0.6, 0.7, 0.8, 0.9, 0.99)  # Figure 5, a in [0.5, 1)
    importance_floor: float = Field(default=1e-6, ge=0, lt=1)  # relative to the largest row
    other_budget: Budget | None = None  # Table 2 once more: does its verdict hang on the budget?
    permutations: int = Field(default=99, ge=19)  # of the protected label, Figure 3's null
    faces: WinFaceSettings | None = None  # None: WIN is not run on faces


class PromptSet(Strict):
    """One set of prompts of Table 5."""

    prompts: Literal["plain", "contextual", "contextual with head poses"]
    number: int = Field(ge=1, le=1000)  # for each group

    @property
    def key(self) -> str:
        """As rows and plans name it."""
        return "plain" if self.prompts == "plain" else f"{self.prompts}, {self.number}"


TABLE_5 = (
    PromptSet(prompts="plain", number=1),
    PromptSet(prompts="contextual", number=25),
    PromptSet(prompts="contextual", number=50),
    PromptSet(prompts="contextual with head poses", number=50),
)


def _task(data: FaceData) -> tuple[object, ...]:
    return data.name, data.target, data.protected, data.bias_ratio


class FaceSettings(Strict):
    """Sizes and choices of the AIM-Fair half (Zhao et al., 2025); defaults are the paper's."""

    seeds: Seeds | None = None  # None: those of the profile
    seeds_per_job: int | None = Field(default=None, ge=1)
    data: FaceData
    #: other tasks in which Table 3 is run, too (chapter 25)
    also_tasks: tuple[FaceData, ...] = ()
    synthetic: SyntheticFaces | None = None  # None: no synthetic faces to fine-tune on
    architecture: str = "resnet18"
    width: int = Field(default=64, ge=4)  # of a ResNet's first layer; 64 is torchvision's own
    #: ``"fairface"`` is a backbone of this project's own, where ImageNet's cannot be had
    initialisation: Start = "imagenet"
    #: other initialisations from which the heart of Table 3 is run, too (chapter 25)
    also_from: tuple[Start, ...] = ()
    backbone: BackboneSettings = BackboneSettings()  # of initialisation 'fairface'
    weights_file: str | None = None  # safetensors, for initialisation 'file'
    numbers: Numbers | None = None  # of all that is run on faces; None: the profile's
    pretrain: ImageOptimisation = ImageOptimisation()
    finetune: ImageOptimisation = ImageOptimisation(learning_rate=0.06, epochs=10)
    #: which experiments with synthetic faces are run, all where this is None
    experiments: tuple[str, ...] | None = None
    #: seeds on which an experiment is not run where others are, ``{"prompt_diversity": [25, 26]}``,
    #: or those of its settings whose keys begin so, ``{"other_tasks: UTKFace": [25, 26]}``
    seeds_left_out: dict[str, Seeds] = Field(default_factory=dict)
    strategies: tuple[str, ...] = tuple(rows_of("3"))  # what is compared: those of Table 3
    #: of `CONTROLS`, chapter 37; no paper has them
    controls: tuple[str, ...] = ()
    k: int = Field(default=55, ge=1)  # the mask of SFT
    ks: tuple[Annotated[int, Field(ge=1)], ...] = Field(default=(40, 45, 50, 55, 60), min_length=1)
    blocks: tuple[str, ...] = ("layer1", "layer2", "layer3", "layer4", "fc")  # Figure 2
    random_draws: int = Field(default=3, ge=1)  # of Table 4's best random selection
    fractions: tuple[Share, ...] = Field(default=(1.0, 0.5, 0.25, 0.1), min_length=1)  # Table 2
    gradient_batches: int | None = Field(default=None, ge=1)  # None: one pass over each set
    gradient_draws: int = Field(default=2, ge=1)  # orders and crops: how stable is the mask?
    prompt_sets: tuple[PromptSet, ...] = TABLE_5
    prompt_total: int | None = Field(default=None, ge=40)  # images of each; None: as S2
    amounts: tuple[Annotated[float, Field(gt=0)], ...] = (0.5, 1.0, 1.5, 2.0)  # Table 6
    s1_ratios: tuple[Annotated[str, Field(pattern=r"^[1-9]\d*:[1-9]\d*$")], ...] = (
        *("4:6", "3:7", "2:8", "1:9"),  # Table 7
    )
    wider_gap: float | None = Field(default=None, gt=0)  # toyfaces: Table 3 at this domain gap, too
    fainter_smile: float | None = Field(default=None, gt=0)  # toyfaces: smiles as visible as this

    @field_validator("experiments", "seeds_left_out")
    @classmethod
    def _planned(cls, names: Any) -> Any:
        if names:
            from repro.study.experiments import of_part  # chapters read profiles

            known = [plan.__name__ for plan in of_part("aim-fair")]
            for name in names:
                check_name("experiment", name.partition(": ")[0], known)
        return names

    @property
    def other_tasks(self) -> tuple[FaceData, ...]:
        """Those of ``also_tasks`` that are not the task of ``data``, which a parameter may set."""
        return tuple(task for task in self.also_tasks if _task(task) != _task(self.data))

    @field_validator("also_tasks")
    @classmethod
    def _different_tasks(cls, tasks: tuple[FaceData, ...]) -> tuple[FaceData, ...]:
        if len(set(map(_task, tasks))) < len(tasks):
            raise ValueError("a task may be named once, with one number of images")
        return tasks

    @field_validator("strategies", "controls")
    @classmethod
    def _known(cls, names: tuple[str, ...], field: ValidationInfo) -> tuple[str, ...]:
        what, known = (
            ("control", CONTROLS) if field.field_name == "controls" else ("strategy", COMPARED)
        )
        for name in names:
            check_name(what, name, known)
        return names


class Generators(Strict):
    """How this project's own text-to-image generators are trained; by default, those that ship."""

    toyfaces: GeneratorSettings = TOYFACES
    faces: GeneratorSettings = FACES
    faces_evened: GeneratorSettings = FACES_EVENED
    faces_ages: GeneratorSettings = FACES_AGES


class Profile(Strict):
    """Every setting of one profile."""

    name: str
    description: str
    seeds: Seeds
    seeds_per_job: int = Field(ge=1)
    #: the profile of which this is a part, with all of its settings but other seeds
    part_of: str | None = None
    #: whether to have the same bits on other processors, at some cost (:mod:`repro.numerics`)
    numbers: Numbers = "native"
    data: DataSettings
    win: WinSettings
    faces: FaceSettings
    generators: Generators = Generators()
    #: what another data set needs, settings by dotted name that parameter ``dataset`` sets, too
    datasets: dict[str, dict[str, Any]] = Field(default_factory=dict)

    def seeds_of(self, paper: Paper) -> tuple[int, ...]:
        """Return the seeds of one part of the study."""
        own = self._of(paper)
        return (own and own.seeds) or self.seeds

    def seeds_per_job_of(self, paper: Paper) -> int:
        """Return how many seeds of one part of the study a job of the sweep runs."""
        own = self._of(paper)
        return (own and own.seeds_per_job) or self.seeds_per_job

    def _of(self, paper: Paper) -> FaceSettings | WinFaceSettings | None:
        """Return the settings of a part that may have seeds of its own."""
        parts = {"aim-fair": self.faces, "win-faces": self.win.faces}
        return parts.get(paper)

    def numbers_of(self, paper: Paper | None) -> Numbers:
        """Return whether the numbers of one part of the study are portable."""
        return (self.faces.numbers if paper in ("aim-fair", "win-faces") else None) or self.numbers

    def image_sets(self) -> tuple[tuple[str, str], ...]:
        """Return the image sets that have to be found, (name, edition) of each."""
        faces = self.faces
        asked = [(data.name, str(data.edition)) for data in (faces.data, *faces.other_tasks)]
        if self.win.faces is not None:
            asked += [(task.name, str(task.edition)) for task in self.win.faces.also_tasks]
        read = [(name, edition) for name, edition in asked if not FACE_SETS[name].simulated]
        learnt = self.win.faces is not None and self.win.faces.backbone == "fairface"
        if learnt or "fairface" in (faces.initialisation, *faces.also_from):
            read.append(("fairface", str(faces.backbone.edition)))
        return tuple(dict.fromkeys(read))

    def is_simulated(self, paper: Paper) -> bool:
        """Whether the data of one part of the study are this project's own simulation."""
        return self._data_set(paper).simulated

    def _data_set(self, paper: Paper) -> DataSet:
        return TABLES[self.data.name] if paper == "win" else FACE_SETS[self.faces.data.name]

    def data_label(self, paper: Paper) -> str:
        """Say what one part of the study is about, with the word "simulated" where it is."""
        name, data = self._data_set(paper).label, self.faces.data
        if paper == "win":
            return name
        task = (self.win.faces if paper == "win-faces" else None) or data
        frozen = ", frozen features" if paper == "win-faces" else ""
        biased = "" if task is not data or data.bias_ratio else f" {data.bias}"
        size = f"{data.size}x{data.size}"
        return f"{name}, {task.target} | {task.protected}{biased}, {size}{frozen}"


def synthetic_of(profile: Profile) -> SyntheticFaces:
    """Return the synthetic faces of a profile.

    Raises
    ------
    SettingsError
        If it has none: then only classifiers trained on real images can be had.
    """
    if profile.faces.synthetic is None:
        raise SettingsError(
            f"profile '{profile.name}' has no synthetic faces, so only strategy 'erm' can be run; "
            'give it some, e.g. -p overrides \'{"faces.synthetic": {"source": "studio"}}\''
        )
    return profile.faces.synthetic


@once
def project_root() -> Path:
    """Return the project's folder, wherever the caller works.

    It is ``REPRO_ROOT``, else the checkout that this package is installed from (editable), else
    the nearest folder above the working directory that holds ``profiles/``.

    Raises
    ------
    SettingsError
        If no such folder is found.
    """
    given = os.environ.get("REPRO_ROOT")
    candidates = [Path(given)] if given else [Path(__file__).parents[3], Path.cwd()]
    if not given:
        candidates += list(Path.cwd().parents)
    for folder in candidates:
        if (folder / "profiles").is_dir():
            return folder.resolve()
    raise SettingsError(
        "the project's folder (the one with profiles/) was not found; "
        "set REPRO_ROOT to it, or install the package with 'pip install -e .' in it"
    )


@once
def profile_names() -> list[str]:
    """Return the names of the profiles that exist, smallest first."""
    order = {"smoke": 0, "quick": 1, "toy": 2, "desk": 3, "paper": 4}
    names = [path.stem for path in (project_root() / "profiles").glob("*.yaml")]
    return sorted(names, key=lambda name: (order.get(name, len(order)), name))


@once
def load_profile(name: str, overrides: dict[str, Any] | None = None) -> Profile:
    """Read a profile, with single settings replaced.

    Parameters
    ----------
    name
        ``smoke``, ``quick``, ``toy``, ``desk`` or ``paper``.
    overrides
        Dotted names of settings and their values, e.g. ``{"win.finetune.epochs": 5}``.

    Raises
    ------
    UnknownNameError
        If the profile or a setting does not exist; the nearest valid name is given.
    SettingsError
        If a value cannot be used.
    """
    check_name("profile", name, profile_names())
    given, values = _read(name), {"name": name}
    if whole := given.get("part_of"):
        values |= _read(check_name("profile", str(whole), profile_names()))
        values["name"] = name
        if "part_of" in values:
            raise SettingsError(f"profile '{name}' is a part of '{whole}', which is a part itself")
    else:
        values |= given
        given = {}
    for dotted, value in (given | (overrides or {})).items():
        _replace(values, dotted, value, Profile)
    return validate(Profile, values, f"profile '{name}'")


#: The safe loader, in C where PyYAML was built with it, ten times as fast.
_YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _read(name: str) -> dict[str, Any]:
    """Return what the file of a profile says; of a part of another, settings by dotted name."""
    path = project_root() / "profiles" / f"{name}.yaml"
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=_YAML)
    except yaml.YAMLError as error:
        raise SettingsError(f"profiles/{name}.yaml is not valid YAML: {error}") from None
    if not isinstance(values, dict):
        raise SettingsError(f"profiles/{name}.yaml holds no settings")
    return values


def _replace(values: dict[str, Any], dotted: str, value: Any, model: type[BaseModel]) -> None:
    """Set ``values['a']['b']`` for ``'a.b'``, checking each part against the settings classes."""
    part, _, rest = dotted.partition(".")
    check_name("setting", part, list(model.model_fields))
    if not rest:
        values[part] = value
        return
    inner = nested(model.model_fields[part].annotation)
    if inner is None:
        raise SettingsError(f"setting '{part}' has no parts, so '{dotted}' cannot be set")
    values[part] = dict(values.get(part) or {})
    _replace(values[part], rest, value, inner)
