"""The folder that diffusers loads: what is in it, and that it draws what the parts say."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, DiffusionPipeline, StableDiffusionPipeline
from safetensors import safe_open
from torch import Tensor
from transformers import CLIPTokenizer

from repro.aimfair.pipelinefolder import quiet, set_scheduler
from repro.data.captions import TOYFACES
from repro.generator import autoencoder, diffusion, package
from repro.generator.about import about_folder
from repro.generator.settings import GeneratorSettings

from .tiny import schedule, settings

# Of torch and numpy together, inside the schedulers.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

HOW = schedule(steps=1)
SETTINGS = settings(HOW, encoder_blocks=(0, 1, 1), decoder_blocks=(1, 1, 0), guidance=2.5, steps=3)
PROMPT = "Portrait face photo of a smiling male with glasses"
SCALE = 1.7


def untrained(words: CLIPTokenizer) -> StableDiffusionPipeline:
    """Return untrained parts as a pipeline; none of the tests needs more."""
    vae = autoencoder.build(SETTINGS)
    vae.register_to_config(scaling_factor=SCALE)
    made = package.pipeline(vae, diffusion.build(SETTINGS, words), words)
    made.set_progress_bar_config(disable=True)
    return made


@pytest.fixture(scope="module")
def words() -> CLIPTokenizer:
    return diffusion.tokenizer(TOYFACES, length=SETTINGS.text_length)


@pytest.fixture
def pipe(words: CLIPTokenizer) -> StableDiffusionPipeline:
    return untrained(words)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, words: CLIPTokenizer) -> Path:
    where = tmp_path_factory.mktemp("generators") / "toys"
    package.save(where, untrained(words), SETTINGS, training={"images": 64}, card="# A card\n")
    return where


def draw(pipe: Any, n: int = 2, **others: Any) -> Tensor:
    own = [torch.Generator().manual_seed(i) for i in range(n)]
    how: dict[str, Any] = {"num_inference_steps": 3, "guidance_scale": 2.5, "output_type": "pt"}
    with quiet():
        images: Tensor = pipe([PROMPT] * n, generator=own, **how | others).images
    return images


def load(folder: Path, **how: Any) -> Any:
    loader: Any = DiffusionPipeline
    with quiet():
        pipe = loader.from_pretrained(folder, local_files_only=True, **how)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_it_loads_as_its_card_says_and_draws(folder: Path, pipe: StableDiffusionPipeline) -> None:
    loaded = load(folder)
    assert type(loaded) is StableDiffusionPipeline
    for part in (loaded.vae, loaded.unet, loaded.text_encoder):
        assert part.dtype == torch.float32
    images = draw(loaded)
    assert images.shape == (2, 3, 32, 32)
    pipe.to(torch.float16).to(torch.float32)  # as the file has them
    assert torch.equal(images, draw(pipe))
    assert not torch.equal(images[0], images[1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_precision_that_is_asked_for_is_had(folder: Path, dtype: torch.dtype) -> None:
    loaded = load(folder, dtype=dtype)
    assert {part.dtype for part in (loaded.vae, loaded.unet, loaded.text_encoder)} == {dtype}


def test_only_safetensors_in_half_precision(folder: Path) -> None:
    kinds = {path.suffix for path in folder.rglob("*") if path.is_file()}
    assert kinds == {".json", ".md", ".safetensors"}
    files = sorted(path.relative_to(folder).parts[0] for path in folder.rglob("*.safetensors"))
    assert files == ["text_encoder", "unet", "vae"]
    for path in folder.rglob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            floats = {
                file.get_tensor(name).dtype
                for name in file.keys()  # noqa: SIM118
            } - {torch.int64}
        assert floats == {torch.float16}
    assert sum(path.stat().st_size for path in folder.rglob("*.safetensors")) > 10_000


def test_no_path_of_this_machine_is_written(folder: Path) -> None:
    files = [*folder.rglob("*.json"), *folder.rglob("*.md")]
    assert len(files) >= 8
    roots = {
        str(Path.home()),
        str(Path.cwd()),
        str(folder.parent),
        folder.parent.name,
        tempfile.gettempdir(),
    }
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert not [root for root in roots if root in text], path.name
        if path.name != "tokenizer.json":  # whose merges may look like anything

            def no_path(values: object) -> None:
                for value in values.values() if isinstance(values, dict) else values:  # type: ignore[attr-defined]
                    if isinstance(value, str):
                        assert not value.startswith(("/", "~")), value
                    elif isinstance(value, dict | list):
                        no_path(value)

            if path.suffix == ".json" and path.name != "vocab.json":
                no_path(json.loads(text))


def test_what_stands_beside_the_weights(folder: Path) -> None:
    assert (folder / "README.md").read_text(encoding="utf-8") == "# A card\n"
    about = about_folder(folder)
    assert about["corpus"] == about["vocabulary"] == "toyfaces"
    assert (about["size"], about["steps"], about["guidance"]) == (32, 3, 2.5)
    assert about["training"] == {"images": 64}
    assert GeneratorSettings.model_validate(about["settings"]) == SETTINGS
    assert folder.stat().st_mode & 0o777 == 0o755


def test_no_safety_checker_is_asked_for(folder: Path) -> None:
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    assert index["requires_safety_checker"] is False
    assert index["safety_checker"] == [None, None]
    assert index["_class_name"] == "StableDiffusionPipeline"


def test_the_pipeline_is_in_single_precision_after_saving(
    pipe: StableDiffusionPipeline, tmp_path: Path
) -> None:
    package.save(tmp_path / "toys", pipe, SETTINGS, training={}, card="")
    assert {p.dtype for p in pipe.unet.parameters()} == {torch.float32}
    assert [path.name for path in tmp_path.iterdir()] == ["toys"]


def test_a_folder_that_stands_there_is_replaced(
    pipe: StableDiffusionPipeline, tmp_path: Path
) -> None:
    where = tmp_path / "toys"
    where.mkdir()
    (where / "old").write_text("old")
    package.save(where, pipe, SETTINGS, training={}, card="new")
    assert not (where / "old").exists()
    assert (where / "README.md").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["toys"]


def _weights(patch: pytest.MonkeyPatch, pipe: StableDiffusionPipeline, where: Path) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError("no space left")

    patch.setattr(pipe, "save_pretrained", full)


def _renaming(patch: pytest.MonkeyPatch, pipe: StableDiffusionPipeline, where: Path) -> None:
    real = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if target == where and (self / "README.md").read_text() == "new":
            raise OSError("no space left")
        return real(self, target)

    patch.setattr(Path, "replace", replace)


@pytest.mark.parametrize("fail", [_weights, _renaming])
def test_a_folder_is_kept_if_saving_fails(
    pipe: StableDiffusionPipeline,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fail: Callable[[pytest.MonkeyPatch, StableDiffusionPipeline, Path], None],
) -> None:
    where = tmp_path / "toys"
    where.mkdir()
    (where / "README.md").write_text("old")
    fail(monkeypatch, pipe, where)
    with pytest.raises(OSError, match="no space left"):
        package.save(where, pipe, SETTINGS, training={}, card="new")
    assert (where / "README.md").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["toys"]
    assert {p.dtype for p in pipe.unet.parameters()} == {torch.float32}


def test_prompts_are_encoded_as_in_training(pipe: StableDiffusionPipeline) -> None:
    texts = [PROMPT, "a zebra"]
    with torch.no_grad():
        given, empty = pipe.encode_prompt(texts, "cpu", 1, True)
        expected = [
            pipe.text_encoder(
                input_ids=diffusion.encode_text(pipe.tokenizer, each, SETTINGS.text_length)
            )[0]
            for each in (texts, ["", ""])
        ]
    assert torch.equal(given, expected[0])
    assert torch.equal(empty, expected[1])


@pytest.mark.parametrize(("scheduler", "off"), [("as shipped", 1e-4), ("ddim", 0.03)])
def test_with_the_true_velocity_it_draws_the_training_image(
    pipe: StableDiffusionPipeline, scheduler: str, off: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one training image the velocity is known: v = alpha eps - sigma z."""
    clean = SCALE * torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(5))
    bar = diffusion.noise_schedule().alphas_cumprod.double()
    times: list[int] = []

    def velocity(noised: Tensor, time: Tensor, **_: Any) -> tuple[Tensor]:
        times.append(int(time))
        alpha, sigma = bar[int(time)].sqrt(), (1 - bar[int(time)]).sqrt()
        z = clean.repeat(len(noised) // len(clean), 1, 1, 1)
        noise = (noised - alpha * z) / sigma
        return ((alpha * noise - sigma * z).float(),)

    monkeypatch.setattr(pipe.unet, "forward", velocity)
    set_scheduler(pipe, scheduler, 0.0)
    expected_class = DDIMScheduler if scheduler == "ddim" else type(pipe.scheduler)
    assert type(pipe.scheduler) is expected_class
    latents = draw(pipe, num_inference_steps=20, output_type="latent")
    assert times == list(range(999, 0, -50))  # from pure noise on
    assert (latents - clean).abs().max() < off
    images = draw(pipe, num_inference_steps=20)
    with torch.no_grad():
        pixels = (pipe.vae.decode(clean / SCALE).sample + 1) / 2
    assert (images - pixels.clamp(0, 1)).abs().max() < off


@pytest.mark.parametrize("variance", [1.0, 0.25])
def test_normal_latents_come_out_with_their_spread(
    pipe: StableDiffusionPipeline, variance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    bar = diffusion.noise_schedule().alphas_cumprod.double()

    def velocity(noised: Tensor, time: Tensor, **_: Any) -> tuple[Tensor]:
        alpha, sigma = bar[int(time)].sqrt(), (1 - bar[int(time)]).sqrt()
        mean = alpha * variance / (alpha**2 * variance + sigma**2) * noised.double()
        noise = (noised - alpha * mean) / sigma
        return ((alpha * noise - sigma * mean).float(),)

    monkeypatch.setattr(pipe.unet, "forward", velocity)
    latents = draw(pipe, n=64, num_inference_steps=20, output_type="latent", guidance_scale=1.0)
    assert float(latents.std()) == pytest.approx(variance**0.5, rel=0.03)
    assert float(latents.mean()) == pytest.approx(0, abs=0.03)


def test_guidance_goes_from_the_empty_prompt_to_the_caption(
    pipe: StableDiffusionPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    with torch.no_grad():
        empty = pipe.encode_prompt("", "cpu", 1, False)[0]

    def velocity(noised: Tensor, time: Tensor, **given: Any) -> tuple[Tensor]:
        words = given["encoder_hidden_states"]
        without = (words == empty).flatten(1).all(dim=1)
        assert without.tolist() == [True, False]
        return (torch.where(without, 1.0, 3.0)[:, None, None, None].expand_as(noised),)

    guided: list[Tensor] = []
    step = pipe.scheduler.step
    monkeypatch.setattr(pipe.unet, "forward", velocity)
    monkeypatch.setattr(
        pipe.scheduler,
        "step",
        lambda output, *rest, **others: (guided.append(output), step(output, *rest, **others))[1],
    )
    draw(pipe, n=1, guidance_scale=4.0, output_type="latent")
    assert len(guided) == 3
    assert all(torch.allclose(output, torch.tensor(1 + 4 * (3.0 - 1))) for output in guided)
