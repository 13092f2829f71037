"""Which images face settings name, and the digests that these must have: nothing is read or drawn.

Plans declare the data of a run by it, so nothing here loads torch.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from repro.chapters.aim import synthetic as generated
from repro.data import toyfaces
from repro.data.images import VERSION as DECODING
from repro.data.registry import face_set
from repro.settings import TOY, FaceData, SettingsError, SyntheticFaces
from repro.study.once import once

#: Offset between the seeds of the two domains, more than any seed, so that no person is in both:
#: one seed gives both domains the same people.
_STUDIO_SEED = 2**31


def camera_of(data: FaceData) -> toyfaces.ToyFaces:
    """Return the embedded camera images: enough of each group for the biased split."""
    ratio = data.bias_ratio or 1.0  # as they are drawn, groups are equally large
    small = ratio / (2 * (1 + ratio))
    # A group has a quarter of the training part, which has 60 % of all; and some to spare.
    needed = data.total * max(small, 0.5 - small) * 4 / 0.6
    return _toy(data, n=int(np.ceil(1.1 * needed)) + 100, seed=data.toy_seed or 0, domain="camera")


def _toy(data: FaceData, *, n: int, seed: int, domain: str) -> toyfaces.ToyFaces:
    """Return the renderer's settings, with those that are not given at its defaults."""
    given = {name: getattr(data, name) for name in TOY if name != "toy_seed"}
    changed = {name.removeprefix("toy_"): v for name, v in given.items() if v is not None}
    return toyfaces.ToyFaces(n=n, seed=seed, size=data.size, domain=domain, **changed)


def studio_of(data: FaceData, synthetic: SyntheticFaces) -> toyfaces.ToyFaces:
    """Return the embedded studio images, which synthetic ones are drawn from."""
    seed = (data.toy_seed or 0) + _STUDIO_SEED
    # Fair coins give a group a quarter, more or less: some to spare.
    return _toy(data, n=4 * synthetic.pool, seed=seed, domain="studio")


@once
def declared_sha256(data: FaceData, synthetic: SyntheticFaces | None = None) -> dict[str, str]:
    """Return the digests that the data must have, without reading an image.

    Raises
    ------
    SettingsError
        If the generator of the synthetic images has seen the real ones.
    """
    if data.name == "toyfaces":
        digests = {"toyfaces camera": toyfaces.fingerprint(camera_of(data))}
    else:
        digests = stamped(face_set(data.name).declared(data.edition))
    if synthetic is None:
        return digests
    if data.name == "lfwa" and synthetic.generator == "faces":
        raise SettingsError(
            "generator 'faces' learnt from LFW, so it cannot draw what is to debias lfwa; choose "
            "another faces.synthetic.generator, or another data set"
        )
    if synthetic.source == "generator":
        return digests | generated.declared(data, synthetic)
    return digests | {"toyfaces studio": toyfaces.fingerprint(studio_of(data, synthetic))}


def stamped(digests: Mapping[str, str]) -> dict[str, str]:
    """Return digests of files with the version of their decoding, which makes other pixels."""
    return {**digests, "decoding": f"version {DECODING}"}
