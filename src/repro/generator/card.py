"""Model cards: what a generator was trained on, what it may be used for, where it fails."""

from __future__ import annotations

from collections.abc import Mapping
from operator import itemgetter
from typing import Any

from repro.data.captions import VOCABULARIES
from repro.generator.settings import GeneratorSettings, name_of

_TOYFACES = """\
# Toy-face generator

A text-to-image latent diffusion model for {size}x{size} toy faces, of Stable Diffusion's own
classes in small. It draws nobody: every training image was rendered by `repro.data.toyfaces`.

- **Data.** {images:,} studio images of `toyfaces` with captions written from their factors
  (`repro.data.captions`), of which {held_out:,} were held out. Simulated, no person is shown.
- **Licence.** MIT, like the code.
- **Intended use.** A model that a student can train again, and what draws the synthetic images of
  this study's default profile.
- **Limits.** It knows the {words} phrases of its vocabulary and no other word. It draws toy faces
  only; conclusions from them are about methods, not about photographs.{read}
"""

_FACES = """\
# Face generator

A text-to-image latent diffusion model for {size}x{size} faces, of Stable Diffusion's own classes
in small: the closest analogue that could be had where Stable Diffusion could not.

- **Data.** {images:,} images, of which {held_out:,} were held out: LFW deep-funneled with the
  LFWA+ attributes (smile, age, hair, accessories, make-up) and FairFace (gender, age, ancestry),
  adults only as far as their labels know (FairFace: 20 years and more; LFWA+: no child, no baby).
  Never CelebA or UTKFace, which its images are to debias. Attributes that a data set does not have
  are never mentioned in its captions.
- **Licences of the data.** FairFace: CC BY 4.0. LFWA+ labels: non-commercial research. LFW: no
  explicit licence. The weights are therefore for **non-commercial research only**.
- **Intended use.** Balanced synthetic faces for fine-tuning a biased classifier in this study.
  Not for identification, not for depicting anybody, not for decisions about people.
- **Limits.** {size}x{size} pixels, trained on a CPU: blurred, often distorted.
  Labels of LFWA+ are predictions of a classifier, its gender and age are binary and as others
  perceived them; LFW is mostly of white men in public life. The images inherit all of that. What is
  known of copies of training faces is under "measured" in `generator.json`.{read}
"""

_AGAIN = """\
- **Made by** `papermill notebooks/29_train_a_generator.ipynb out.ipynb -p corpus {corpus} -p train
  true`, {autoencoder} + {text} + {diffusion} steps of training (autoencoder, text,
  diffusion), {minutes:.0f} minutes on {device} ({machine}), torch {torch}, diffusers {diffusers}.
- **Load** with `diffusers.DiffusionPipeline.from_pretrained(folder)`; defaults of this study
  ({steps} steps of DPM-Solver++, guidance {guidance:g}) and everything measured are in
  `generator.json`.
"""


_WENT_ON = """\
- **Went on from** an earlier one, {earlier} steps of {batch} images ({before:.0f} minutes), whose
  autoencoder and tokenizer it has; its own settings and losses are under "went_on_from" in
  `generator.json`. The steps above count both, the minutes only what came after.
"""


def card(settings: GeneratorSettings, training: Mapping[str, Any]) -> str:
    """Return the model card, Markdown."""
    values = {
        "corpus": name_of(settings) or settings.corpus,
        "size": settings.size,
        "images": training["images"],
        "held_out": training["held_out"],
        "words": len(VOCABULARIES[settings.corpus]),
        "autoencoder": settings.autoencoder.steps,
        "text": settings.text.steps,
        "diffusion": settings.diffusion.steps,
        "minutes": sum(training["seconds"].values()) / 60,
        "device": training["device"],
        "machine": training["machine"],
        "torch": training["versions"]["torch"],
        "diffusers": training["versions"]["diffusers"],
        "steps": settings.steps,
        "guidance": settings.guidance,
        "read": _read(training.get("measured", {})),
    }
    about = _TOYFACES if settings.corpus == "toyfaces" else _FACES
    text = about.format(**values) + _AGAIN.format(**values)
    before = training.get("went_on_from")
    if before is None:
        return text
    how = before["settings"]["diffusion"]
    return text + _WENT_ON.format(
        earlier=how["steps"],
        batch=how["batch_size"],
        before=_seconds(before["training"]) / 60,
    )


def _seconds(training: Mapping[str, Any]) -> float:
    """Return how long a training took with those that it went on from."""
    before = training.get("went_on_from")
    earlier = 0.0 if before is None else _seconds(before["training"])
    return earlier + float(sum(training["seconds"].values()))


def _read(measured: Mapping[str, Any]) -> str:
    """Say how often what a prompt asked for was read in the image, least often first."""
    said = [shares for name, shares in measured.items() if name.startswith("read as asked")]
    if not said:
        return ""
    shares = sorted(
        said[0].items(), key=itemgetter(1)
    )  # of faces, the classifier trained on CelebA
    told = ", ".join(f"{name} {share:.0%}" for name, share in shares)
    return f"\n  Of what prompts asked for, an independent classifier read: {told}."
