"""Which tensors each strategy trains, that nothing else moves, and on which images it trains."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torchvision import models

from repro.aimfair.composition import compose
from repro.aimfair.finetune import blocks, freeze_all_but, frozen_batchnorm, trainable_tensors
from repro.aimfair.strategies import CONTROLS, STRATEGIES
from repro.data.sources import DataError
from repro.names import UnknownNameError

SCRATCH = ("erm", "synthetic only", "supplementation", "repairing")
NOT_IN_THE_PAPER = (
    *("balanced real", "random parameters", "importance mask"),
    *("batchnorm affine", "batchnorm statistics"),
)


def structure(architecture: str) -> nn.Module:
    """Names and shapes of a torchvision classifier with one logit, without its numbers."""
    with torch.device("meta"):
        model: nn.Module = getattr(models, architecture)(weights=None, num_classes=1)
    return model


def vgg() -> nn.Module:
    """A VGG with a small head: the original's has 120 million parameters."""
    model: nn.Module = structure("vgg11_bn")
    model.classifier = nn.Sequential(
        nn.Linear(512 * 7 * 7, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 1)
    )
    model.features.to_empty(device="cpu")
    for module in model.features:
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    return model


RUNNABLE: dict[str, Callable[[], nn.Module]] = {
    "resnet18": lambda: models.resnet18(weights=None, num_classes=1),
    "resnet50": lambda: models.resnet50(weights=None, num_classes=1),
    "densenet121": lambda: models.densenet121(weights=None, num_classes=1),
    "mobilenet_v3_small": lambda: models.mobilenet_v3_small(weights=None, num_classes=1),
    "vgg11_bn": vgg,
}
BLOCKS = {
    "resnet18": {"stem": 3, "layer1": 12, "layer2": 15, "layer3": 15, "layer4": 15, "fc": 2},
    "resnet50": {"stem": 3, "layer1": 30, "layer2": 39, "layer3": 57, "layer4": 30, "fc": 2},
    "densenet121": {
        "stem": 3,
        "features.denseblock1": 39,
        "features.denseblock2": 75,
        "features.denseblock3": 147,
        "features.denseblock4": 98,
        "classifier": 2,
    },
    "mobilenet_v3_small": {
        "features.0": 3,
        "features.1": 10,
        "features.2": 9,
        "features.3": 9,
        **{f"features.{i}": 13 for i in range(4, 12)},
        "features.12": 3,
        "classifier.0": 2,
        "classifier.3": 2,
    },
    "vgg11_bn": {
        **{f"features.{i}": 2 for i in (0, 1, 4, 5, 8, 9, 11, 12, 15, 16, 18, 19, 22, 23, 25, 26)},
        **{f"classifier.{i}": 2 for i in (0, 3, 6)},
    },
}
each_architecture = pytest.mark.parametrize("architecture", BLOCKS)


def names_of(model: nn.Module) -> list[str]:
    return [name for name, _ in model.named_parameters()]


# --- Strategies ---


def test_the_table_is_that_of_the_paper() -> None:
    assert list(STRATEGIES) == [
        *SCRATCH,
        *("linear probing", "fully fine-tuning", "freeze", "update", "random"),
        *("cosine mask", "mask"),
        *NOT_IN_THE_PAPER,
    ]
    for name, strategy in STRATEGIES.items():
        assert strategy.name == name
        assert strategy.meaning.endswith(".")
        assert len(strategy.meaning) < 90
        assert (strategy.start == "initial") == (name in (*SCRATCH, "balanced real"))
        assert strategy.balanced == (name == "balanced real")
        assert (not strategy.where) == (name in NOT_IN_THE_PAPER)
        assert (strategy.sensitivity is not None) == strategy.tensors.startswith("mask")
    assert [STRATEGIES[name].data for name in SCRATCH] == [
        "real",
        "synthetic",
        "real and synthetic",
        "repaired",
    ]
    assert {s.data for s in STRATEGIES.values() if s.start == "pretrained"} == {"synthetic"}
    table = {n: [s.name for s in STRATEGIES.values() if n in s.where] for n in ("3", "4", "2")}
    assert table["3"] == [*SCRATCH, "linear probing", "fully fine-tuning", "mask"]
    assert table["4"] == ["freeze", "update", "random", "cosine mask", "mask"]
    assert table["2"] == ["fully fine-tuning", "freeze"]
    kinds = {s.name: s.sensitivity for s in STRATEGIES.values() if s.sensitivity}
    assert kinds == {"cosine mask": "cosine", "mask": "absolute", "importance mask": "absolute"}
    needs = {s.name: s.needs for s in STRATEGIES.values() if s.needs}
    assert needs == {
        "freeze": ("block",),
        "update": ("block",),
        "random": ("k", "draw"),
        "cosine mask": ("mask",),
        "mask": ("mask",),
        "random parameters": ("mask", "draw"),
        "importance mask": ("mask",),
    }
    assert {s for s in CONTROLS if STRATEGIES[s].where} == {"random"}


# --- Which tensors ---


@each_architecture
def test_every_tensor_is_in_one_block(architecture: str) -> None:
    model = structure(architecture)
    grouped = blocks(model)
    assert {block: len(names) for block, names in grouped.items()} == BLOCKS[architecture]
    assert sorted(name for names in grouped.values() for name in names) == sorted(names_of(model))


@each_architecture
def test_which_tensors_train(architecture: str) -> None:
    model = structure(architecture)
    everything = frozenset(names_of(model))
    for strategy in (*SCRATCH, "fully fine-tuning"):
        assert trainable_tensors(model, strategy) == everything
    head = list(BLOCKS[architecture])[-1]
    assert trainable_tensors(model, "linear probing") == {f"{head}.weight", f"{head}.bias"}
    for block, names in blocks(model).items():
        assert trainable_tensors(model, "update", block=block) == frozenset(names)
        assert trainable_tensors(model, "freeze", block=block) == everything - frozenset(names)
    mask = {f"{head}.bias"}
    assert trainable_tensors(model, "mask", mask=mask) == mask
    assert trainable_tensors(model, "cosine mask", mask=mask) == mask
    assert trainable_tensors(model, "random", k=len(everything), draw=0) == everything


@pytest.mark.parametrize(
    ("architecture", "head"),
    [
        ("convnext_tiny", "classifier.2"),
        ("efficientnet_b0", "classifier.1"),
        ("vit_b_32", "heads.head"),
    ],
)
def test_linear_probing_trains_the_last_linear_layer(architecture: str, head: str) -> None:
    names = trainable_tensors(structure(architecture), "linear probing")
    assert names == {f"{head}.weight", f"{head}.bias"}


def test_a_model_without_linear_head_cannot_be_probed() -> None:
    with pytest.raises(ValueError, match="SqueezeNet has no linear layer"):
        trainable_tensors(structure("squeezenet1_0"), "linear probing")


def test_random_draws_are_uniform_and_fixed_by_the_seed() -> None:
    model = structure("resnet18")
    draws = [trainable_tensors(model, "random", k=31, draw=draw) for draw in range(400)]
    assert all(len(names) == 31 for names in draws)
    assert draws[7] == trainable_tensors(model, "random", k=31, draw=7)
    assert len(set(draws)) == 400
    counts = np.array([sum(name in names for names in draws) for name in names_of(model)])
    # Each is drawn half of the time: 200 +- 10; five standard deviations over 62 tensors.
    assert np.abs(counts - 200).max() < 50


@each_architecture
def test_random_tensors_hold_as_many_parameters_as_a_mask(architecture: str) -> None:
    model = structure(architecture)
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    for draw, mask in enumerate((list(sizes)[1::2], list(sizes)[:-1], [*sizes])):
        chosen = trainable_tensors(model, "random parameters", mask=mask, draw=draw)
        wanted = sum(sizes[name] for name in mask)
        short = wanted - sum(sizes[name] for name in chosen)
        # Never more, and nothing that is left out would still fit.
        assert 0 <= short < min([sizes[n] for n in sizes.keys() - chosen], default=1)
        assert short <= wanted / 100
        assert chosen == trainable_tensors(model, "random parameters", mask=mask, draw=draw)
    assert chosen == sizes.keys()  # as many as all there are: all


def test_random_tensors_of_a_size_differ_from_draw_to_draw() -> None:
    model = structure("resnet18")
    mask = [name for name in names_of(model) if "layer4" not in name]
    draws = {trainable_tensors(model, "random parameters", mask=mask, draw=at) for at in range(50)}
    assert len(draws) > 25
    # No tensor of a fifth of all parameters is in the mask; where one fits, it may be drawn.
    assert any("layer4.0.conv1.weight" in names for names in draws)


def test_batchnorm_alone_is_what_stands_in_batchnorm_layers() -> None:
    model = structure("resnet50")
    layers = {n for n, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)}
    names = trainable_tensors(model, "batchnorm affine")
    assert names == {f"{layer}.{own}" for layer in layers for own in ("weight", "bias")}
    assert trainable_tensors(model, "batchnorm statistics") == frozenset()
    with pytest.raises(ValueError, match="'batchnorm affine' leaves no tensor to train"):
        trainable_tensors(structure("alexnet"), "batchnorm affine")


@pytest.mark.parametrize(
    ("strategy", "given_arguments", "message"),
    [
        ("freeze", {}, "'freeze' needs block"),
        ("update", {"k": 3}, "'update' needs block"),
        ("random", {}, "'random' needs k and draw"),
        ("random", {"k": 3}, "'random' needs draw"),
        ("mask", {}, "'mask' needs mask"),
        ("erm", {"block": "fc"}, "'erm' takes no further argument, but block is given"),
        ("mask", {"mask": {"fc.bias"}, "k": 2}, "'mask' takes mask, but k is given"),
        ("random", {"k": 0, "draw": 1}, r"k must be a whole number in 1\.\.62, not 0"),
        ("random", {"k": 63, "draw": 1}, r"1\.\.62, not 63"),
        ("random", {"k": 2.0, "draw": 1}, r"1\.\.62, not 2\.0"),
        ("random", {"k": 3, "draw": -1}, "draw must be a whole number >= 0, not -1"),
        ("random parameters", {"draw": 1}, "'random parameters' needs mask"),
        (
            "random parameters",
            {"mask": {"fc.bias"}, "draw": -1},
            "draw must be a whole number >= 0, not -1",
        ),
        ("batchnorm statistics", {"k": 3}, "takes no further argument, but k is given"),
        ("mask", {"mask": set()}, "'mask' leaves no tensor to train"),
    ],
)
def test_arguments_that_do_not_fit(
    strategy: str, given_arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        trainable_tensors(structure("resnet18"), strategy, **given_arguments)


def test_unknown_names_are_answered_with_the_nearest() -> None:
    model = structure("resnet18")
    with pytest.raises(UnknownNameError, match="unknown strategy 'repair'; did you mean 'repairi"):
        trainable_tensors(model, "repair")
    with pytest.raises(UnknownNameError, match="unknown block 'layer5'; did you mean 'layer"):
        trainable_tensors(model, "update", block="layer5")
    with pytest.raises(UnknownNameError, match=r"unknown tensor 'fc\.weigth'; .*'fc\.weight'"):
        trainable_tensors(model, "mask", mask={"fc.bias", "fc.weigth"})


def test_freezing_the_only_block_leaves_nothing() -> None:
    with pytest.raises(ValueError, match="'freeze' leaves no tensor"):
        trainable_tensors(nn.Sequential(nn.Linear(2, 1)), "freeze", block="0")


# --- Frozen means frozen ---


def test_freeze_all_but_counts_parameters_and_undoes_an_earlier_call() -> None:
    model = structure("resnet18")
    assert freeze_all_but(model, {"fc.weight", "fc.bias"}) == 513
    assert freeze_all_but(model, ["layer4.0.conv2.weight"]) == 2_359_296
    assert [n for n, p in model.named_parameters() if p.requires_grad] == ["layer4.0.conv2.weight"]
    assert freeze_all_but(model, trainable_tensors(model, "erm")) == 11_177_025
    with pytest.raises(UnknownNameError, match=r"'layer4\.0\.conv2\.wieght'; did you mean"):
        freeze_all_but(model, {"fc.bias", "layer4.0.conv2.wieght"})
    with pytest.raises(ValueError, match="every tensor would be frozen"):
        freeze_all_but(model, set())
    assert all(p.requires_grad for p in model.parameters()), "an error changes nothing"


def steps(model: nn.Module, n: int, set_train_mode: Callable[[nn.Module], None]) -> None:
    """Train as the authors do: the optimiser holds every tensor, with decay and momentum."""
    generator = torch.Generator().manual_seed(0)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-2)
    for _ in range(n):
        set_train_mode(model)
        inputs = 3 + torch.randn(4, 3, 32, 32, generator=generator)
        optimiser.zero_grad(set_to_none=False)  # the default before PyTorch 2.0
        model(inputs).square().mean().backward()
        optimiser.step()
        model.eval()  # what a loop does to validate


def parameters_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def statistics_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: buffer.clone() for name, buffer in model.named_buffers()}


@each_architecture
@pytest.mark.parametrize("statistics", ["move", "freeze"])
def test_frozen_tensors_stay_and_the_others_move(architecture: str, statistics: Any) -> None:
    torch.manual_seed(0)
    model = RUNNABLE[architecture]()
    for p in model.parameters():
        p.grad = torch.ones_like(p)  # as training before has left them
    first, *_, head = blocks(model)
    norm = next(
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.BatchNorm2d) and not name.startswith(first + ".")
    )
    trainable = {*blocks(model)[head], f"{norm}.bias"}
    freeze_all_but(model, trainable)
    mode = frozen_batchnorm(model, trainable, statistics=statistics)
    parameters, buffers = parameters_of(model), statistics_of(model)
    steps(model, 3, mode)
    moved = {n for n, p in parameters_of(model).items() if not torch.equal(p, parameters[n])}
    assert moved == trainable
    layers = {n.rpartition(".")[0] for n in buffers}
    still = {
        layer
        for layer in layers
        if all(
            torch.equal(b, buffers[n])
            for n, b in statistics_of(model).items()
            if n.rpartition(".")[0] == layer
        )
    }
    # A layer of which one tensor trains is in train mode.
    assert still == (layers - {norm} if statistics == "freeze" else set())


def test_weight_decay_moves_frozen_tensors_that_keep_a_gradient_of_zeros() -> None:
    # What freeze_all_but prevents, and what requires_grad alone does not.
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(2 * 900, 1))
    by_flag_alone = copy.deepcopy(model)
    for each in (model, by_flag_alone):
        for p in each.parameters():
            p.grad = torch.zeros_like(p)
    freeze_all_but(model, {"2.weight", "2.bias"})
    by_flag_alone[0].requires_grad_(False)
    before = model[0].weight.clone()
    for each in (model, by_flag_alone):
        steps(each, 2, lambda m: m.train() and None)
    assert torch.equal(model[0].weight, before)
    assert not torch.equal(by_flag_alone[0].weight, before)


def test_moving_statistics_change_what_linear_probing_sees() -> None:
    torch.manual_seed(0)
    faces = torch.randn(4, 3, 32, 32)
    for statistics, same in (("move", False), ("freeze", True)):
        model = RUNNABLE["resnet18"]().eval()
        trainable = trainable_tensors(model, "linear probing")
        freeze_all_but(model, trainable)
        trunk = nn.Sequential(*list(model.children())[:-1]).eval()
        features = trunk(faces)
        mode = frozen_batchnorm(model, trainable, statistics=statistics)
        steps(model, 2, mode)
        assert torch.equal(trunk.eval()(faces), features) is same


def test_the_train_mode_works_on_a_copy_and_by_default_is_that_of_the_authors() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.BatchNorm2d(4))
    model.eval()
    mode = frozen_batchnorm(model, {"0.weight", "3.bias"}, statistics="freeze")
    twin = copy.deepcopy(model)
    mode(twin)
    assert [module.training for module in twin] == [True, False, True, True]
    assert not any(module.training for module in model.modules())
    frozen_batchnorm(model, {"0.weight"})(twin)
    assert all(module.training for module in twin.modules())
    with pytest.raises(UnknownNameError, match="unknown statistics 'frozen'; did you mean 'free"):
        frozen_batchnorm(model, {"0.weight"}, statistics="frozen")
    with pytest.raises(UnknownNameError, match=r"unknown tensor '0\.wieght'"):
        frozen_batchnorm(model, {"0.wieght"})


# --- On which images ---

GROUPS = ((0, 0), (0, 1), (1, 0), (1, 1))


def labels(*counts: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Target and protected attribute of so many images of each of `GROUPS`, in mixed order."""
    pairs = np.repeat(np.array(GROUPS), counts, axis=0)
    pairs = np.random.default_rng(seed).permutation(pairs)
    return pairs[:, 0], pairs[:, 1]


def count(of: tuple[np.ndarray, np.ndarray], indices: np.ndarray) -> list[int]:
    target, protected = (values[indices] for values in of)
    return [int(((target == t) & (protected == p)).sum()) for t, p in GROUPS]


REAL, SYNTHETIC = labels(10, 90, 90, 10), labels(100, 100, 100, 100, seed=1)


@pytest.mark.parametrize(
    ("data", "real", "synthetic"),
    [("real", 200, 0), ("synthetic", 0, 400), ("real and synthetic", 200, 400)],
)
def test_all_of_both(data: Any, real: int, synthetic: int) -> None:
    from_real, from_synthetic = compose(data, REAL, SYNTHETIC, seed=0)
    assert from_real.tolist() == list(range(real))
    assert from_synthetic.tolist() == list(range(synthetic))
    assert from_real.dtype == from_synthetic.dtype == np.int64


def test_repairing_makes_all_groups_as_large_as_the_largest() -> None:
    real, synthetic = compose("repaired", REAL, SYNTHETIC, seed=0)
    assert real.tolist() == list(range(200))
    assert count(SYNTHETIC, synthetic) == [80, 0, 0, 80]
    assert (np.diff(synthetic) > 0).all()
    again = compose("repaired", REAL, SYNTHETIC, seed=0)[1]
    other = compose("repaired", REAL, SYNTHETIC, seed=1)[1]
    assert np.array_equal(again, synthetic)
    assert not np.array_equal(other, synthetic)
    assert synthetic.dtype == np.int64


def test_a_group_without_real_images_is_all_synthetic() -> None:
    _, chosen = compose("repaired", labels(0, 90, 30, 90), SYNTHETIC, seed=0)
    assert count(SYNTHETIC, chosen) == [90, 0, 60, 0]


def test_the_group_that_lacks_images_is_named_target_first() -> None:
    with pytest.raises(DataError, match=r": group \(1,0\) has 5 and needs 60\. "):
        compose("repaired", labels(90, 90, 30, 90), labels(9, 9, 5, 9), seed=0)


@given(st.tuples(*[st.integers(0, 12)] * 4), st.tuples(*[st.integers(6, 12)] * 4), st.integers(0))
def test_repairing_any_counts(real: tuple[int, ...], pool: tuple[int, ...], seed: int) -> None:
    of_real, of_pool = labels(*real), labels(*pool, seed=1)
    needed = [max(real) - n for n in real]
    enough = all(have >= need for have, need in zip(pool, needed, strict=True))
    if enough and sum(real):
        _, chosen = compose("repaired", of_real, of_pool, seed=seed)
        assert count(of_pool, chosen) == needed
    else:
        with pytest.raises(DataError):
            compose("repaired", of_real, of_pool, seed=seed)


def test_the_draw_of_a_group_does_not_depend_on_the_others() -> None:
    def of_first(real: tuple[np.ndarray, np.ndarray]) -> list[int]:
        _, chosen = compose("repaired", real, SYNTHETIC, seed=3)
        inside = (SYNTHETIC[0][chosen] == 0) & (SYNTHETIC[1][chosen] == 0)
        drawn: list[int] = chosen[inside].tolist()
        return drawn

    assert of_first(labels(10, 90, 90, 10)) == of_first(labels(10, 90, 20, 80))


def test_the_paper_s_balanced_subset_is_too_small_to_repair() -> None:
    # 1,000 and 9,000 real images a group need 8,000 more; S2 has 5,000, the whole pool 10,500.
    real = labels(1_000, 9_000, 9_000, 1_000)
    message = r"\(0,0\) has 5000 and needs 8000; group \(1,1\) has 5000 and needs 8000\. .*pool"
    with pytest.raises(DataError, match=message):
        compose("repaired", real, labels(*[5_000] * 4), seed=0)
    pool = labels(*[10_500] * 4)
    assert count(pool, compose("repaired", real, pool, seed=0)[1]) == [8_000, 0, 0, 8_000]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"data": "repair"}, "did you mean 'repaired'"),
        ({"real": ([0, 1], [0])}, "real: 2 target values but 1 protected"),
        ({"synthetic": ([0, 2], [0, 1])}, "synthetic target must be one-dimensional, each value"),
        ({"real": ([[0], [1]], [0, 1])}, "real target must be one-dimensional"),
        ({"synthetic": ([0, 1], [0, float("nan")])}, "synthetic protected must be"),
        ({"seed": -1}, "seed must be a whole number >= 0, not -1"),
    ],
)
def test_bad_composition(changed: dict[str, Any], message: str) -> None:
    good: dict[str, Any] = {"data": "repaired", "real": REAL, "synthetic": SYNTHETIC, "seed": 0}
    arguments = good | changed
    with pytest.raises(ValueError, match=message):
        compose(
            arguments["data"], arguments["real"], arguments["synthetic"], seed=arguments["seed"]
        )


def test_no_image_at_all() -> None:
    with pytest.raises(DataError, match="'real' holds no image: 0 real and 400 synthetic"):
        compose("real", ([], []), SYNTHETIC, seed=0)
