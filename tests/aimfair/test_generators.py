"""Loading a text-to-image pipeline safely, and what it draws."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from repro.aimfair import generators
from repro.aimfair.generators import load
from repro.aimfair.pipelinefolder import (
    HOW_IT_RUNS,
    MIRROR,
    GenerationError,
    GenerationSettings,
    check_folder,
    folder_digest,
)
from repro.names import UnknownNameError
from repro.precision import effective
from repro.settings import SettingsError, validate

# Without type hints for their methods.
DPMSolverMultistepScheduler: Any = diffusers.DPMSolverMultistepScheduler
StableDiffusionPipeline: Any = diffusers.StableDiffusionPipeline

PROMPTS = ["a smiling male", "a male, aged", "smiling", "a man", "ab", "cd", "ef", "a male"]
SEEDS = list(range(100, 108))


def tiny(folder: Path, **changes: Any) -> GenerationSettings:
    small = {"steps": 3, "size": None, "resize": None}
    return GenerationSettings.model_validate({"pipeline": str(folder), **small, **changes})


@pytest.fixture
def copied(pipeline_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pipeline_folder, tmp_path / "copied"))


def test_defaults_are_the_papers() -> None:
    paper = GenerationSettings()
    assert (paper.pipeline, paper.scheduler, paper.steps) == (MIRROR, "ddim", 50)
    assert (paper.eta, paper.guidance, paper.size, paper.resize) == (0.0, 9.0, 512, 224)
    assert GenerationSettings.model_fields.keys() >= set(HOW_IT_RUNS)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ValidationError, match=r"unknown scheduler 'dimm'; did you mean 'ddim'"):
        GenerationSettings.model_validate({"scheduler": "dimm"})
    with pytest.raises(ValidationError, match=r"unknown precision 'bfloat'"):
        GenerationSettings.model_validate({"precision": "bfloat"})
    with pytest.raises(UnknownNameError, match="did you mean 'steps'"):
        validate(GenerationSettings, {"step": 3}, "here")
    with pytest.raises(SettingsError, match="steps = 0"):
        validate(GenerationSettings, {"steps": 0}, "here")


@pytest.mark.parametrize(
    ("which", "steps", "guidance", "eta"),
    [("pipeline_folder", 50, 9.0, 0.0), ("tiny_autoencoder_folder", 4, 1.5, 1.0)],
)
def test_it_draws_what_diffusers_draws(
    which: str,
    steps: int,
    guidance: float,
    eta: float,
    request: pytest.FixtureRequest,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = request.getfixturevalue(which)
    settings = tiny(folder, steps=steps, guidance=guidance, eta=eta, size=32, resize=14)
    with caplog.at_level(logging.WARNING):
        drawn = load(settings, device="cpu").draw(PROMPTS[:2], SEEDS[:2])
    assert not caplog.records
    assert drawn.dtype == torch.uint8
    assert drawn.shape == (2, 3, 14, 14)

    pipe = StableDiffusionPipeline.from_pretrained(folder, use_safetensors=True)
    assert isinstance(pipe.scheduler, diffusers.DDIMScheduler)
    pipe.set_progress_bar_config(disable=True)
    pictures = pipe(
        prompt=PROMPTS[:2],
        num_inference_steps=steps,
        guidance_scale=guidance,
        eta=eta,
        height=32,
        width=32,
        generator=[torch.Generator().manual_seed(seed) for seed in SEEDS[:2]],
        output_type="np",
    ).images
    # As the authors' script makes pictures of them: bytes are cut off, not rounded.
    whole = [Image.fromarray((255 * picture).astype(np.uint8)) for picture in pictures]
    small = [p.resize((14, 14), Image.Resampling.LANCZOS) for p in whole]
    expected = np.stack([np.asarray(p) for p in small]).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(drawn.numpy(), expected)
    assert drawn.float().std() > 5  # a picture, not a surface


def test_an_image_hardly_depends_on_its_batch(pipeline_folder: Path) -> None:
    generator = load(tiny(pipeline_folder, steps=10), device="cpu")
    alone = torch.cat([generator.draw([p], [s]) for p, s in zip(PROMPTS, SEEDS, strict=True)])
    for n in (3, 8):
        parts = range(0, len(PROMPTS), n)
        together = torch.cat([generator.draw(PROMPTS[i : i + n], SEEDS[i : i + n]) for i in parts])
        apart = (together.int() - alone.int()).abs()
        assert int(apart.max()) <= 1
        assert float((apart > 0).float().mean()) < 1e-3
    # The same row of as many others is the same image, whatever they are.
    together = generator.draw(PROMPTS, SEEDS)
    beside = generator.draw(["x", *PROMPTS[1:-1], "y"], [1, *SEEDS[1:-1], 2])
    assert torch.equal(together[1:-1], beside[1:-1])
    assert not torch.equal(together[0], beside[0])


def test_precision(pipeline_with: Callable[..., Any], tmp_path: Path) -> None:
    pipeline_with().to(torch.bfloat16).save_pretrained(tmp_path, safe_serialization=True)
    for precision in ("bfloat16", "float32"):  # whatever is on disk
        generator = load(tiny(tmp_path, precision=precision), device="cpu")
        # bfloat16 where this machine has instructions for it
        dtype = getattr(torch, effective(precision))
        assert {generator.pipe.unet.dtype, generator.pipe.text_encoder.dtype} == {dtype}
        assert generator.draw(["a male"], [1]).shape == (1, 3, 16, 16)


# ---- schedulers


def test_scheduler_is_replaced_only_when_asked(
    pipeline_with: Callable[..., Any], pipeline_folder: Path, tmp_path: Path
) -> None:
    shipped = DPMSolverMultistepScheduler(
        beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction"
    )
    with pytest.warns(FutureWarning, match="steps_offset"):
        pipe = pipeline_with(scheduler=shipped)
    pipe.save_pretrained(tmp_path / "dpm", safe_serialization=True)

    # The warning of the class, which is set right by it, is held back here.
    as_shipped = load(tiny(tmp_path / "dpm", scheduler="as shipped"), device="cpu")
    assert as_shipped.scheduler == "DPMSolverMultistepScheduler"
    ddim = load(tiny(tmp_path / "dpm", scheduler="ddim"), device="cpu")
    assert ddim.scheduler == "DDIMScheduler"
    config = ddim.pipe.scheduler.config
    assert (config.beta_schedule, config.prediction_type) == ("squaredcos_cap_v2", "v_prediction")
    # DDIM's own defaults would clip latents to [-1, 1] here.
    assert (config.clip_sample, config.set_alpha_to_one, config.steps_offset) == (False, False, 1)
    first = as_shipped.draw(["a male"], [1])
    assert not torch.equal(first, ddim.draw(["a male"], [1]))

    fast = load(tiny(pipeline_folder, scheduler="dpm++", steps=4), device="cpu")
    assert fast.scheduler == "DPMSolverMultistepScheduler"
    config = fast.pipe.scheduler.config
    # The noise of training is kept.
    assert (config.algorithm_type, config.beta_start) == ("dpmsolver++", 0.00085)
    assert fast.draw(["a male"], [1]).float().std() > 1


def test_eta_is_refused_where_it_means_nothing(pipeline_folder: Path) -> None:
    with pytest.raises(GenerationError, match=r"eta 0.5 means nothing to DPMSolver.*'ddim'"):
        load(tiny(pipeline_folder, scheduler="dpm++", eta=0.5), device="cpu")
    noisy = load(tiny(pipeline_folder, eta=1.0), device="cpu")
    images = noisy.draw(PROMPTS[:3], SEEDS[:3])
    # The noise of the steps too comes from the image's own generator.
    apart = (noisy.draw(PROMPTS[1:2], SEEDS[1:2])[0].int() - images[1].int()).abs()
    assert int(apart.max()) <= 1


# ---- identity


def test_identity_of_a_folder(copied: Path) -> None:
    names = sorted(
        path.relative_to(copied).as_posix()
        for path in copied.rglob("*")
        if path.suffix in {".json", ".txt", ".safetensors"}
    )
    assert "unet/diffusion_pytorch_model.safetensors" in names
    lines = [f"{n} {hashlib.sha256((copied / n).read_bytes()).hexdigest()}\n" for n in names]
    expected = hashlib.sha256("".join(lines).encode()).hexdigest()
    assert folder_digest(copied) == expected

    found = load(tiny(copied), device="cpu")
    assert (found.name, found.revision) == ("copied", f"sha256:{expected}")
    (copied / "README.md").write_text("read me")  # no part of what is drawn
    (copied / ".cache").mkdir()
    (copied / ".cache" / "note.json").write_text("{}")
    (copied / "generator.json").write_text("{}")
    assert folder_digest(copied) == expected
    moved = copied.rename(copied.with_name("moved"))
    assert folder_digest(moved) == expected
    (moved / "unet" / "config.json").write_bytes(
        (moved / "unet" / "config.json").read_bytes() + b"\n"
    )
    assert folder_digest(moved) != expected


def test_a_name_on_the_hub_is_resolved_to_a_commit(
    pipeline_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    found = {"snapshot": shutil.copytree(pipeline_folder, tmp_path / "snapshots" / commit)}
    asked = []

    def download(name: str, **how: Any) -> str:
        asked.append((name, how["revision"], how["use_safetensors"]))
        if how["revision"] is not None:
            raise ConnectionError("no route")
        return str(found["snapshot"])

    monkeypatch.setattr(diffusers.DiffusionPipeline, "download", download)
    settings = GenerationSettings(pipeline="owner/name", size=None, resize=None)
    generator = load(settings, device="cpu")
    assert asked == [("owner/name", None, True)]
    assert (generator.name, generator.revision) == ("owner/name", commit)
    with pytest.raises(GenerationError, match=r"at revision abc.*no route.*give its folder"):
        load(settings.model_copy(update={"revision": "abc"}), device="cpu")
    found["snapshot"] = pipeline_folder
    with pytest.raises(GenerationError, match="does not say which commit of owner/name it is"):
        load(settings, device="cpu")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"pipeline": "a/b/c"}, "neither a folder nor a name"),
        ({"revision": "main"}, "has no revision"),
    ],
)
def test_what_leads_to_no_pipeline(
    pipeline_folder: Path, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(GenerationError, match=message):
        load(tiny(pipeline_folder, **values), device="cpu")


# ---- what is refused


def _changed_index(**values: Any) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        index = folder / "model_index.json"
        index.write_text(json.dumps(json.loads(index.read_text()) | values))

    return change


def _only_a_pickle(folder: Path) -> None:
    weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))


def _truncated(folder: Path) -> None:
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        *(
            (
                lambda folder, end=end: (folder / "unet" / f"weights.{end}").write_bytes(b"x"),
                rf"unet.weights\.{end} is a pickle.*delete it",
            )
            for end in ("bin", "pt", "ckpt", "pkl")
        ),
        (_only_a_pickle, r"diffusion_pytorch_model.bin is a pickle.*safe_ser"),
        (
            lambda folder: (folder / "text_encoder" / "model.safetensors").unlink(),
            r"text_encoder has a config.json but no .safetens",
        ),
        (lambda folder: shutil.rmtree(folder / "text_encoder"), "has no folder 'text_encoder'"),
        (_truncated, "cannot be loaded as a pipeline"),
        (_changed_index(unet=["my_unet", "MyUNet"]), r"not in diffusers.*unet \(my_unet\)"),
        (_changed_index(_class_name=["mine", "MyPipeline"]), "never run"),
        (_changed_index(_class_name="StableDiffusionImg2ImgPipeline"), "images from text alone"),
        (lambda folder: (folder / "model_index.json").unlink(), r"model_index.json is absent"),
    ],
)
def test_what_is_unsafe_or_damaged_is_refused(
    copied: Path, damage: Callable[[Path], object], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage(copied)
    monkeypatch.setattr(torch, "load", lambda *a, **k: pytest.fail("unpickled"))
    with pytest.raises(GenerationError, match=message):
        load(tiny(copied), device="cpu")


def test_a_pickle_that_no_component_loads_is_no_matter(copied: Path) -> None:
    (copied / "old").mkdir()
    (copied / "old" / "weights.ckpt").write_bytes(b"anything")
    check_folder(copied)
    with pytest.raises(GenerationError, match="it is no pipeline"):
        folder_digest(copied / "old")


# ---- the rest


def test_pixels_that_are_no_numbers_are_black(
    pipeline_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = load(tiny(pipeline_folder), device="cpu")
    # Half of 255 is cut off, as the authors' script does, not rounded to 128.
    bad = torch.tensor([float("nan"), 1.0, 0.5]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    monkeypatch.setattr(generator, "_call", lambda *_: bad)
    assert generator.draw(["a"], [1])[0, :, 0, 0].tolist() == [0, 255, 127]
    monkeypatch.setattr(generator, "_call", lambda *_: torch.zeros(1, 3, 4, 6))
    with pytest.raises(GenerationError, match="not square"):
        generator.draw(["a"], [1])
    with pytest.raises(ValueError, match="2 prompts but 1 seeds"):
        generator.draw(["a", "b"], [1])


def test_long_prompts_are_found(pipeline_folder: Path) -> None:
    generator = load(tiny(pipeline_folder), device="cpu")
    exactly = "a " * 22  # and the two ends: 24 tokens
    assert generator.too_long(["a male", exactly, exactly + "b"]) == [exactly + "b"]


def test_batch_follows_the_memory_unless_it_is_set(
    pipeline_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load(tiny(pipeline_folder, batch=7), device="cpu").batch == 7
    monkeypatch.setattr(generators, "available_memory", lambda: 0)
    assert load(tiny(pipeline_folder), device="cpu").batch == 1
    monkeypatch.setattr(generators, "available_memory", lambda: 40 << 30)
    assert load(tiny(pipeline_folder), device="cpu").batch == 4  # 20 GB, 3 each, a power of two
    assert load(tiny(pipeline_folder, size=64), device="cpu").batch == 16
