"""Mean gradients, sensitivities and the mask, each against an oracle of its own."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torchvision import models

from repro.aimfair.gradients import mean_gradients, sensitivity
from repro.aimfair.mask import (
    EmptyMaskError,
    MaskSize,
    entry_k,
    jaccard,
    mask_sizes,
    select_mask,
)
from repro.names import UnknownNameError

Batches = list[tuple[Tensor, Tensor]]


def loss(logits: Tensor, target: Tensor) -> Tensor:
    return binary_cross_entropy_with_logits(logits.squeeze(1), target)


def tiny() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 16, 1)
    )


def faces(*sizes: int, pixels: int = 6, seed: int = 0) -> Batches:
    generator = torch.Generator().manual_seed(seed)
    return [
        (
            torch.randn(n, 3, pixels, pixels, generator=generator),
            torch.randint(2, (n,), generator=generator).float(),
        )
        for n in sizes
    ]


def plain_loop(model: nn.Module, batches: Batches, *, train: bool) -> dict[str, Tensor]:
    """Backward batch by batch on a copy, as anyone would write it."""
    model = copy.deepcopy(model).train(train)
    sums = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    for inputs, target in batches:
        model.zero_grad()
        loss(model(inputs), target).backward()
        for name, p in model.named_parameters():
            assert p.grad is not None
            sums[name] += p.grad
    return {name: total / len(batches) for name, total in sums.items()}


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize(
    ("build", "pixels"),
    [
        (lambda: tiny(), 6),
        (lambda: models.resnet18(weights=None, num_classes=1), 32),
        (lambda: models.densenet121(weights=None, num_classes=1), 32),
        (lambda: models.mobilenet_v3_small(weights=None, num_classes=1), 32),
    ],
    ids=["tiny", "resnet18", "densenet121", "mobilenet_v3_small"],
)
def test_against_a_plain_loop(build: Callable[[], nn.Module], pixels: int, mode: Any) -> None:
    torch.manual_seed(1)
    model, batches = build(), faces(4, 4, 3, pixels=pixels)
    torch.manual_seed(2)  # for the dropout of the MobileNet
    expected = plain_loop(model, batches, train=mode == "train")
    torch.manual_seed(2)
    ours = mean_gradients(model, batches, loss, mode=mode)
    assert list(ours) == list(expected)
    for name, gradient in ours.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=1e-6, msg=name)
        assert not gradient.requires_grad


def test_closed_form_of_a_linear_model() -> None:
    torch.manual_seed(0)
    model = nn.Linear(5, 1).double()
    batches = [
        (torch.randn(n, 5, dtype=torch.float64), torch.randint(2, (n,)).double()) for n in (8, 8, 2)
    ]
    weight, bias = [], []
    for x, y in batches:
        residual = torch.sigmoid(x @ model.weight[0] + model.bias) - y
        weight.append((residual[:, None] * x).mean(dim=0))
        bias.append(residual.mean())
    ours = mean_gradients(model, batches, loss)
    # Over batches: the last, of 2 examples, counts as much as the others.
    exact = {"rtol": 1e-12, "atol": 1e-15}
    torch.testing.assert_close(ours["weight"], torch.stack(weight).mean(dim=0)[None], **exact)
    torch.testing.assert_close(ours["bias"], torch.stack(bias).mean()[None], **exact)
    assert ours["weight"].dtype == torch.float64


def test_train_and_eval_mode_differ_and_only_train_depends_on_the_batches() -> None:
    model = tiny()
    whole = faces(12)
    ((inputs, target),) = whole
    halves = [(inputs[:6], target[:6]), (inputs[6:], target[6:])]
    by_mode = {mode: mean_gradients(model, whole, loss, mode=mode) for mode in ("train", "eval")}
    assert not torch.allclose(by_mode["train"]["0.weight"], by_mode["eval"]["0.weight"])
    for mode, same in (("train", False), ("eval", True)):
        split = mean_gradients(model, halves, loss, mode=mode)["0.weight"]
        assert torch.allclose(split, by_mode[mode]["0.weight"], atol=1e-6) is same


def untouched(model: nn.Module) -> Callable[[], None]:
    """Note all of a model's state; return a check that it is the same, bit for bit."""

    def state() -> dict[str, Tensor]:
        parts = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        return {name: tensor.detach().clone() for name, tensor in parts.items()}

    def flags() -> list[object]:
        return [
            *((name, p.requires_grad) for name, p in model.named_parameters()),
            *((name, module.training) for name, module in model.named_modules()),
        ]

    def grads() -> dict[str, Tensor | None]:
        return {n: None if p.grad is None else p.grad.clone() for n, p in model.named_parameters()}

    before, flags_before, grads_before = state(), flags(), grads()

    def check() -> None:
        after = state()
        assert after.keys() == before.keys()
        assert all(torch.equal(before[name], tensor) for name, tensor in after.items())
        assert flags() == flags_before
        for name, grad in grads().items():
            saved = grads_before[name]
            assert (grad is None) == (saved is None)
            assert grad is None or torch.equal(grad, saved)  # type: ignore[arg-type]

    return check


def lived_in() -> nn.Sequential:
    """A model with mixed flags and modes, gradients, and statistics that are no default."""
    model = tiny()
    loss(model(faces(5, seed=3)[0][0]), faces(5, seed=3)[0][1]).backward()
    model[4].weight.grad = None
    model[0].weight.requires_grad_(False)
    model[1].eval()
    return model


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_model_is_as_before(mode: Any, precision: Any) -> None:
    model = lived_in()
    check = untouched(model)
    with torch.no_grad():  # The caller's context does not matter.
        ours = mean_gradients(model, faces(4, 4), loss, mode=mode, precision=precision)
    check()
    assert ours["0.weight"].any(), "a frozen tensor has a gradient too"


def test_train_mode_would_have_moved_the_statistics() -> None:
    model = lived_in().train()
    check = untouched(model)
    with torch.no_grad():
        model(faces(4)[0][0])
    with pytest.raises(AssertionError):
        check()


def breaking(kind: str) -> tuple[Batches | Any, Callable[[Tensor, Tensor], Tensor], str]:
    good = faces(4, 4, 4)
    if kind == "loss":
        (good[1][0])[0, 0, 0, 0] = torch.nan
        return good, loss, "the loss of batch 1 is nan"
    if kind == "gradient":  # sqrt has an infinite slope at 0
        return good, lambda z, _: (z - z.detach()).abs().sqrt().sum(), "0.weight, .* not finite"
    if kind == "scalar":
        return good, lambda z, _: z.squeeze(1), r"scalar, not shape \(4,\)"
    if kind == "detached":
        return good, lambda z, y: loss(z.detach(), y), "batch 0 does not depend"
    if kind == "none":
        return [], loss, "no batch"

    def broken() -> Any:
        yield good[0]
        raise ValueError("the disk is full")

    return broken(), loss, "the disk is full"


@pytest.mark.parametrize("kind", ["loss", "gradient", "scalar", "detached", "none", "iterator"])
def test_an_error_says_where_and_leaves_the_model(kind: str) -> None:
    model = lived_in()
    check = untouched(model)
    batches, objective, message = breaking(kind)
    with pytest.raises(ValueError, match=message):
        mean_gradients(model, batches, objective)
    check()


def test_a_tensor_that_is_not_used_has_a_zero_gradient() -> None:
    model = tiny()
    model.spare = nn.Linear(3, 2)
    model.forward = lambda x: nn.Sequential(*list(model)[:5])(x)
    ours = mean_gradients(model, faces(4), loss)
    assert torch.equal(ours["spare.weight"], torch.zeros(2, 3))
    assert ours["0.weight"].any()


def test_bfloat16_runs_the_forward_pass_and_float32_accumulates() -> None:
    model, batches, seen = tiny(), faces(4, 4), []

    def spy(logits: Tensor, target: Tensor) -> Tensor:
        seen.append((logits.dtype, torch.is_autocast_enabled("cpu")))
        return loss(logits, target)

    model[4].register_forward_hook(lambda _, __, output: seen.append(output.dtype))
    single = mean_gradients(model, batches, spy)
    half = mean_gradients(model, batches, spy, precision="bfloat16")
    assert seen[:4] == [torch.float32, (torch.float32, False)] * 2
    assert seen[4:] == [torch.bfloat16, (torch.float32, False)] * 2
    for name, gradient in half.items():
        assert gradient.dtype == torch.float32
        torch.testing.assert_close(gradient, single[name], rtol=0.1, atol=0.02)
    assert not torch.equal(half["0.weight"], single["0.weight"])
    # The setting says what happens, whatever the caller has around it.
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = mean_gradients(model, batches, loss)
    assert all(torch.equal(inside[name], single[name]) for name in single)


def test_parameters_in_bfloat16_accumulate_in_float32() -> None:
    model = nn.Linear(2, 1).to(torch.bfloat16)
    batches = [(torch.ones(1, 2, dtype=torch.bfloat16), torch.ones(1))] * 300
    # Each adds 1; in bfloat16 the sum would stay at 256.
    ours = mean_gradients(model, batches, lambda z, _: z.sum())
    assert ours["weight"].dtype == torch.float32
    assert ours["weight"].tolist() == [[1, 1]]


@pytest.mark.parametrize("setting", [{"mode": "trian"}, {"precision": "float16"}])
def test_an_unknown_setting(setting: dict[str, Any]) -> None:
    with pytest.raises(UnknownNameError, match="did you mean"):
        mean_gradients(tiny(), faces(4), loss, **setting)


def test_sensitivity_against_numpy() -> None:
    generator = np.random.default_rng(0)
    a, b = (
        {"w": generator.normal(size=(4, 3)).astype(np.float32), "b": generator.normal(size=7)}
        for _ in range(2)
    )
    tensors = [{name: torch.from_numpy(g) for name, g in grads.items()} for grads in (a, b)]
    absolute, cosine = sensitivity(*tensors), sensitivity(*tensors, kind="cosine")
    assert list(absolute) == list(cosine) == ["w", "b"]
    for name in a:
        x, y = a[name].astype(np.float64).ravel(), b[name].astype(np.float64).ravel()
        assert absolute[name] == pytest.approx(np.abs(x - y).mean(), rel=1e-12)
        expected = 1 - np.dot(x, y) / np.sqrt((x**2).sum() * (y**2).sum())
        assert cosine[name] == pytest.approx(expected, rel=1e-12)


def test_cosine_ignores_scale_and_absolute_does_not() -> None:
    a = {"w": torch.tensor([1.0, 2.0, -3.0])}
    for factor, cosine, absolute in ((10.0, 0, 18), (-1.0, 2, 4), (1.0, 0, 0)):
        b = {"w": factor * a["w"]}
        assert sensitivity(a, b, "cosine")["w"] == pytest.approx(cosine, abs=1e-15)
        assert sensitivity(a, b)["w"] == pytest.approx(absolute)


def test_cosine_where_a_gradient_is_zero_or_has_one_entry() -> None:
    some, zero = {"w": torch.tensor([1.0, 2.0])}, {"w": torch.zeros(2)}
    assert sensitivity(zero, zero, "cosine") == {"w": 0}
    assert sensitivity(zero, some, "cosine") == sensitivity(some, zero, "cosine") == {"w": 1}
    one = {"fc.bias": torch.tensor([0.3])}
    assert sensitivity(one, {"fc.bias": torch.tensor([0.7])}, "cosine") == {"fc.bias": 0}
    assert sensitivity(one, {"fc.bias": torch.tensor([-1e-9])}, "cosine") == {"fc.bias": 2}


def test_sensitivity_refuses_other_tensors() -> None:
    a, w = {"w": torch.ones(2), "b": torch.ones(1)}, {"w": torch.ones(2), "c": torch.ones(1)}
    with pytest.raises(ValueError, match="only the first has b, only the second c"):
        sensitivity(a, w)
    with pytest.raises(ValueError, match=r"b \(1,\) and \(3,\)"):
        sensitivity(a, {"w": torch.ones(2), "b": torch.ones(3)})
    with pytest.raises(UnknownNameError, match="'cosine'"):
        sensitivity(a, a, "cosin")


# Few distinct values, so that many are equal.
RANKED = st.integers(1, 12).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(0, 5).map(float), min_size=n, max_size=n),
        st.lists(st.integers(0, 5).map(float), min_size=n, max_size=n),
    )
)


def named(values: list[float]) -> dict[str, float]:
    return {f"t{i}": value for i, value in enumerate(values)}


def oracle(domain: list[float], fairness: list[float], k: int) -> frozenset[str]:
    """The definition, by stable argsort."""
    smallest = np.argsort(np.array(domain), kind="stable")[:k]
    largest = np.argsort(-np.array(fairness), kind="stable")[:k]
    return frozenset(f"t{i}" for i in np.intersect1d(smallest, largest))


@given(RANKED)
def test_masks_against_brute_force(values: tuple[list[float], list[float]]) -> None:
    domain, fairness = values
    n = len(domain)
    expected = {k: oracle(domain, fairness, k) for k in range(1, n + 1)}
    for k, mask in expected.items():
        if mask:
            assert select_mask(named(domain), named(fairness), k) == mask
        else:
            with pytest.raises(EmptyMaskError):
                select_mask(named(domain), named(fairness), k)
        assert len(mask) >= 2 * k - n
    first = entry_k(named(domain), named(fairness))
    assert min(first.values()) == min(k for k, m in expected.items() if m)
    assert all((first[name] <= k) == (name in m) for k, m in expected.items() for name in first)
    assert expected[n] == named(domain).keys()
    assert all(small <= large for small, large in pairwise(expected.values()))
    counts = {f"t{i}": 10**i for i in range(n)}
    sizes = mask_sizes(named(domain), named(fairness), counts)
    assert [size.k for size in sizes] == list(expected)
    for size in sizes:
        held = sum(counts[name] for name in expected[size.k])
        assert (size.tensors, size.parameters) == (len(expected[size.k]), held)
        assert size.share_of_tensors == pytest.approx(size.tensors / n)
        assert size.share_of_parameters == pytest.approx(held / sum(counts.values()))


@given(st.permutations(range(8)), st.permutations(range(8)), st.permutations(range(8)))
def test_without_equal_values_the_order_of_tensors_does_not_matter(
    domain: list[int], fairness: list[int], order: list[int]
) -> None:
    d, b = named([float(v) for v in domain]), named([float(v) for v in fairness])
    shuffled_d, shuffled_b = ({f"t{i}": side[f"t{i}"] for i in order} for side in (d, b))
    assert entry_k(shuffled_d, shuffled_b) == entry_k(d, b)
    assert entry_k(d, shuffled_b) == entry_k(d, b)


def test_equal_values_are_ranked_in_the_order_of_the_model() -> None:
    d, b = dict.fromkeys("abcd", 1.0), dict.fromkeys("dcba", 2.0)
    assert entry_k(d, b) == {"a": 1, "b": 2, "c": 3, "d": 4}
    assert select_mask(d, b, 2) == {"a", "b"}


def test_an_empty_mask_says_which_k_is_large_enough() -> None:
    d, b = named([1.0, 2, 3, 4, 5, 6]), named([1.0, 2, 3, 4, 5, 6])
    with pytest.raises(EmptyMaskError, match=r"k = 3 .* 0 are the same.* is 4 \(of 6\)"):
        select_mask(d, b, 3)
    assert select_mask(d, b, 4) == {"t2", "t3"}
    assert issubclass(EmptyMaskError, ValueError)


@pytest.mark.parametrize("k", [0, -1, 4, 2.0, True, "2", None])
def test_k_out_of_range(k: Any) -> None:
    values = named([1.0, 2, 3])
    with pytest.raises(ValueError, match=rf"1\.\.3, .*not {k!r}"):
        select_mask(values, values, k)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_sensitivity_that_is_not_finite_is_named(bad: float) -> None:
    values = named([1.0, 2, 3])
    for d, b in ((values, {**values, "t1": bad}), ({**values, "t1": bad}, values)):
        with pytest.raises(ValueError, match="of t1 is not finite"):
            select_mask(d, b, 2)


def test_ranking_refuses_other_tensors_and_none() -> None:
    values = named([1.0, 2, 3])
    with pytest.raises(ValueError, match="only the first has t2"):
        entry_k(values, named([1.0, 2]))
    with pytest.raises(ValueError, match="only the second t3"):
        mask_sizes(values, values, {"t0": 1, "t1": 1, "t2": 1, "t3": 1})
    with pytest.raises(ValueError, match="no tensor"):
        entry_k({}, {})
    with pytest.raises(ValueError, match="no tensor"):
        select_mask({}, {}, 1)


def resnet() -> nn.Module:
    with torch.device("meta"):  # names and shapes only
        model: nn.Module = models.resnet18(weights=None, num_classes=1)
    return model


def test_shares_of_tensors_are_not_shares_of_parameters() -> None:
    """METHODS 1g.8: what the paper calls percentages of the parameters counts tensors."""
    counts = {name: p.numel() for name, p in resnet().named_parameters()}
    total = sum(counts.values())
    assert (len(counts), total) == (62, 11_177_025)
    assert counts["layer4.0.conv2.weight"] == 2_359_296
    assert counts["layer4.0.conv2.weight"] / total == pytest.approx(0.211, abs=5e-4)
    assert counts["bn1.bias"] / total == pytest.approx(0.0006 / 100, rel=0.05)
    # Figure 5's k and percentages: k of 62 tensors, cut to whole per cent.
    assert [int(100 * k / 62) for k in (40, 45, 50, 55, 60)] == [64, 72, 80, 88, 96]
    # With one and the same ranking from the largest tensor down, one tensor is 21 %.
    by_size = {name: -float(count) for name, count in counts.items()}
    sizes = mask_sizes(by_size, {name: -v for name, v in by_size.items()}, counts)
    assert sizes[0] == MaskSize(1, 1, 1 / 62, 2_359_296, 2_359_296 / total)
    assert sizes[-1] == MaskSize(62, 62, 1.0, total, 1.0)


def test_jaccard() -> None:
    a, b = frozenset("ab"), frozenset("bc")
    assert jaccard(a, b) == pytest.approx(1 / 3)
    assert jaccard(a, a) == jaccard(frozenset(), frozenset()) == 1
    assert jaccard(a, frozenset("xy")) == 0


def test_a_mask_can_be_recorded() -> None:
    sizes = mask_sizes(named([1.0, 2]), named([1.0, 2]), {"t0": 3, "t1": 4})
    assert json.loads(json.dumps([size._asdict() for size in sizes]))[1]["parameters"] == 7
