"""Settings that more than one room needs: small, frozen, and strict about names.

They are part of a run's identity, so a field may only be added together with a new version number
of the stages that read it. Importing this module is cheap: the sweep reads profiles without torch.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from repro.data.registry import FACE_SETS
from repro.names import UnknownNameError, check_name, hint

T = TypeVar("T", bound=BaseModel)
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Strict(BaseModel):
    """A frozen settings object that refuses unknown keys and names the nearest valid one."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SettingsError(ValueError):
    """A setting has a value that cannot be used; the message names the setting and the remedy."""


def leaves(settings: Strict, at: str = "") -> dict[str, Any]:
    """Return every field of nested settings by its dotted name."""
    found: dict[str, Any] = {}
    for name in type(settings).model_fields:
        inner = getattr(settings, name)
        if isinstance(inner, Strict):
            found |= leaves(inner, f"{at}{name}.")
        else:
            found[at + name] = inner
    return found


def validate(model: type[T], values: dict[str, Any], where: str) -> T:
    """Build ``model`` from plain values.

    Parameters
    ----------
    model
        The settings class.
    values
        Plain values, as read from YAML or a notebook parameter.
    where
        What the values are, for the message ("profile 'quick'").

    Raises
    ------
    UnknownNameError
        For a key that does not exist; the nearest valid key is given.
    SettingsError
        For a value of the wrong type or out of range; every such setting is listed.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = []
        for detail in error.errors():
            path = ".".join(str(part) for part in detail["loc"])
            if detail["type"] == "extra_forbidden":
                key = str(detail["loc"][-1])
                valid = _fields_at(model, detail["loc"][:-1])
                raise UnknownNameError(
                    f"{where}: unknown setting '{path}'{hint(key, valid)} "
                    f"(valid: {', '.join(valid)})"
                ) from None
            given = detail.get("input")
            problems.append(f"{path or 'value'} = {given!r}: {detail['msg']}")
        raise SettingsError(f"{where}: " + "; ".join(problems)) from None


def nested(annotation: Any) -> type[BaseModel] | None:
    """Return the settings class that a field holds, alone or in a union or tuple, or None."""
    members = (annotation, *get_args(annotation))
    return next((m for m in members if isinstance(m, type) and issubclass(m, BaseModel)), None)


def _fields_at(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """Return the field names of the nested settings class that ``path`` leads to."""
    for part in path:
        field = model.model_fields.get(str(part))
        inner = nested(field.annotation) if field else None
        model = inner or model  # a place in a tuple leads no further
    return sorted(model.model_fields)


class Optimisation(Strict):
    """How one model is trained; the papers leave much of it open, so a budget is stated instead.

    Every method gets the same budget: each learning rate of ``learning_rates`` is trained for
    ``epochs`` epochs, and the rate and epoch with the lowest value of the method's own objective
    on the validation part are kept.
    """

    learning_rates: tuple[Rate, ...] = Field(min_length=1)
    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    optimiser: Literal["adam", "sgd"] = "adam"
    momentum: float = Field(default=0.9, ge=0, lt=1)  # read by sgd only
    weight_decay: float = Field(default=0.0, ge=0)


class DataSettings(Strict):
    """Which tabular data set, and every choice that changes what a model sees of it."""

    name: Literal["adult", "toycensus"]
    records: int | None = Field(default=None, ge=1_000)  # toycensus only; None: as many as Adult
    bias: float | None = Field(default=None, ge=0)  # toycensus only; None: the default strength
    missing: Literal["category", "drop"] = "category"  # Adult's '?'
    include_protected: bool = False  # the protected attribute among the features

    @model_validator(mode="after")
    def _only_where_it_means_something(self) -> Self:
        if self.name == "adult" and (self.records is not None or self.bias is not None):
            raise ValueError("'records' and 'bias' set the simulation; Adult has none to set")
        return self


class ImageOptimisation(Strict):
    """How one image classifier is trained; the defaults are AIM-Fair's for pre-training.

    One learning rate, no search: the paper gives its schedule (METHODS of AIM-Fair, 1c and 1e),
    so nothing is left to choose but the kept epoch.
    """

    learning_rate: Rate = 0.01
    epochs: int = Field(default=15, ge=1)
    milestones: tuple[int, ...] = (10,)  # the rate is multiplied by 0.1 after these epochs
    batch_size: int = Field(default=128, ge=2)  # BatchNorm has no statistics of one image
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=1e-4, ge=0)
    #: the epoch that is kept, by best overall validation accuracy (the authors'), best worst-group
    #: validation accuracy (which needs protected labels), or the last one
    selection: Literal["accuracy", "worst_group", "last"] = "accuracy"
    precision: Literal["float32", "bfloat16"] = "bfloat16"  # autocast, where hardware has it
    smallest_crop: float = Field(default=0.08, gt=0, le=1)  # share of the frame; 1: no crop
    flip: float = Field(default=0.5, ge=0, le=1)  # share of images flipped left to right


class BackboneSettings(Strict):
    """How long a backbone is trained on FairFace: AdamW, warm-up, then a cosine down to zero.

    It learns age group, gender and ancestry of adults at once (``repro.generator.oracle.train``).
    """

    seed: int = Field(default=0, ge=0)
    size: int = Field(default=64, ge=16)  # pixels a side
    edition: str = "reduced"  # of FairFace
    steps: int = Field(default=2_500, ge=1)
    batch_size: int = Field(default=128, ge=2)


Factor = Annotated[float, Field(ge=0, allow_inf_nan=False)]
#: Settings of the embedded faces alone.
TOY = (
    "toy_seed",
    "toy_smile_strength",
    "toy_gender_strength",
    "toy_domain_gap",
    "toy_clutter",
    "toy_noise",
)


def _registered(name: str) -> str:
    return check_name("set of faces", name, FACE_SETS)


FaceSetName = Annotated[str, AfterValidator(_registered)]  # of repro.data.registry
Edition = Literal["reduced", "official", "found"]


class FaceData(Strict):
    """Which faces, at which size, and how biased the training set is made (AIM-Fair)."""

    name: FaceSetName
    #: which files of a real data set; see the data set's module
    edition: Edition = "reduced"
    size: int = Field(default=64, ge=16, le=512)  # pixels a side
    target: str = "Smiling"
    protected: str = "Male"
    total: int = Field(default=20_000, ge=40)  # images of the biased training set
    #: size of groups (0,0) and (1,1) against (0,1) and (1,0); null as the data are
    bias_ratio: Rate | None = 1 / 9
    fraction: float = Field(default=1.0, gt=0, le=1)  # of ``total`` that is used (Table 2)
    # Of the embedded faces only; None: the renderer's default (repro.data.toyfaces).
    toy_seed: int | None = Field(default=None, ge=0)
    toy_smile_strength: Factor | None = None  # how visible the target is
    toy_gender_strength: Factor | None = None  # how loud the protected cues are
    toy_domain_gap: Factor | None = None  # between camera and studio; 0: none
    toy_clutter: Factor | None = None
    toy_noise: Factor | None = None

    @property
    def bias(self) -> str:
        """Size of the small groups to the large, written as in the paper, or "as it is"."""
        return "as it is" if self.bias_ratio is None else f"1:{1 / self.bias_ratio:.3g}"

    @model_validator(mode="after")
    def _only_where_it_means_something(self) -> Self:
        if self.target == self.protected:
            raise ValueError(f"target and protected attribute are both '{self.target}'")
        given = [name for name in TOY if getattr(self, name) is not None]
        if given and self.name != "toyfaces":
            raise ValueError(f"{given} set the embedded faces; a real data set has none of them")
        return self


class SyntheticFaces(Strict):
    """The synthetic images: where they come from, and how many of each group are drawn.

    ``studio`` draws them with the renderer of the toy faces, in its clean domain. ``generator``
    draws them from prompts with a text-to-image diffusion model (AIM-Fair's CSDG, METHODS 1a).
    """

    source: Literal["studio", "generator"] = "studio"
    total: int = Field(default=20_000, ge=40)  # of the balanced set S2, and of the biased one S1
    bias_ratio: Rate = 1 / 9  # of S1
    pool: int = Field(default=10_500, ge=10)  # images of each group to draw from
    amount: Rate = 1.0  # fine-tuning reads S2 at this many times ``total`` (Table 6)
    # Of source 'generator' alone.
    #: toyfaces or faces (this project's own), a folder in the layout of diffusers, or a hub id
    generator: str | None = None
    revision: str | None = None  # of a hub id
    prompts: Literal["plain", "contextual", "contextual with head poses"] | None = None
    prompts_per_group: int | None = Field(default=None, ge=1, le=1000)
    writer: str | None = None  # a language model; None: the offline grammar, which is none
    #: the authors' lists, or others of that layout (repro.aimfair.prompt_files), a file or folder,
    #: of which each group's first ``prompts_per_group`` are used, or all where there are fewer.
    #: What it holds is in the digest of the pool, not where it lies
    prompts_file: str | None = Field(default=None, exclude=True)
    scheduler: Literal["as shipped", "ddim", "dpm++"] = "as shipped"
    steps: int | None = Field(default=None, ge=1, le=1000)  # None: as shipped
    guidance: float | None = Field(default=None, ge=1)  # None: as shipped
    seed: int = Field(default=42, ge=0)  # of the images; the authors' is 42

    @model_validator(mode="after")
    def _only_where_it_means_something(self) -> Self:
        own = ("generator", "prompts", "prompts_per_group")
        others = ("revision", "writer", "prompts_file", "steps", "guidance")
        given = [name for name in own + others if getattr(self, name) is not None]
        if self.source == "studio" and given:
            raise ValueError(f"{given} set a generator; source 'studio' has none")
        if self.source == "generator":
            missing = [name for name in own if getattr(self, name) is None]
            if missing:
                raise ValueError(f"source 'generator' needs {missing}")
            if self.writer is not None and self.prompts_file is not None:
                raise ValueError("'writer' writes prompts, 'prompts_file' holds some: give one")
            if self.prompts == "plain" and self.prompts_per_group != 1:
                raise ValueError("there is one plain prompt for each group: prompts_per_group is 1")
        return self
