"""What came out of a generator: blanks, near duplicates, and whether it shows what was asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from repro.data.splits import GROUPS
from repro.names import check_name

Read = Callable[[Tensor], Mapping[str, NDArray[np.floating]]]
"""From (n, 3, s, s) uint8 to (n,) probabilities of each attribute being 1, by its name."""

_BLOCK = 1024  # images that are averaged at once
_THUMB = 16  # pixels a side
_NEAR = 4.0  # root mean square of differences, of 255, under which two are near duplicates
_AT_ONCE = 256  # images that are read together


def is_blank(images: Tensor, below: float) -> NDArray[np.bool_]:
    """Tell which images are one colour, as a safety checker's black ones are.

    Parameters
    ----------
    images
        (n, 3, s, s) uint8.
    below
        The standard deviation over pixels, of 255, that some channel of a picture reaches.

    Returns
    -------
    (n,) bool
        Whether it is below that in each channel. One bright and two dark channels are one colour
        too, so channels are not taken together.
    """
    spread = images.float().flatten(2).std(dim=2, correction=0).amax(dim=1)
    return np.asarray((spread < below).numpy(), dtype=np.bool_)


def redrawn(manifest: pd.DataFrame) -> pd.DataFrame:
    """Count, in each group, the images that were one colour at first and the times it happened.

    Parameters
    ----------
    manifest
        As `repro.aimfair.synthesis.generate` returns it.

    Returns
    -------
    pandas.DataFrame
        A row for each group ``(t,p)``: ``images``, ``redrawn`` (images), ``blanks`` (times).
    """
    group = _labels(manifest["target"], manifest["protected"])
    attempts = manifest["attempt"].groupby(group)
    table = pd.DataFrame(
        {
            "images": attempts.size(),
            "redrawn": manifest["attempt"].gt(0).groupby(group).sum(),
            "blanks": attempts.sum(),
        }
    )
    return table.rename_axis("group")


def near_duplicates(images: Tensor, target: ArrayLike, protected: ArrayLike) -> pd.DataFrame:
    """Count pairs of images of one group that are almost the same picture.

    Images are averaged down to 16x16 pixels; two are near duplicates if the root mean square of
    the differences, over pixels and channels, is below 4 of 255. That is blind to noise and fine
    detail, and sees a shift of the face, its colours and its light. Of 2,000 different faces of
    `repro.data.toyfaces` the two most alike differ by 9.8, copies with noise of 8 by 2.2 at most;
    a difference hash of 64 bits takes many different ones of those for the same.

    Parameters
    ----------
    images
        (n, 3, s, s) uint8, s at least 16.
    target, protected
        (n,) 0 or 1: the groups. Pairs across groups are not compared.

    Returns
    -------
    pandas.DataFrame
        A row for each group ``(t,p)``: ``images``, ``pairs`` (near duplicates), ``rate`` (share
        of all its pairs), ``involved`` (images with at least one).

    Raises
    ------
    ValueError
        If the labels do not fit the images.
    """
    from sklearn.neighbors import radius_neighbors_graph  # late: blanks are found without it

    group = _labels(target, protected)
    if len(group) != len(images):
        raise ValueError(f"{len(images)} images but {len(group)} labels; one of each is needed")
    rows = {}
    for name in sorted(set(group)):
        thumbs = _thumbnails(images, np.flatnonzero(group == name))
        n, radius = len(thumbs), np.nextafter(_NEAR * thumbs.shape[1] ** 0.5, 0)
        close = radius_neighbors_graph(thumbs, radius, include_self=False).sum(axis=1)
        pairs, involved = int(close.sum()) // 2, int((close > 0).sum())
        rows[name] = {
            "images": n,
            "pairs": pairs,
            "rate": pairs / (n * (n - 1) / 2) if n > 1 else 0.0,
            "involved": involved,
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("group")


def _thumbnails(images: Tensor, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """(k, 3 * 16 * 16), in parts: the images may be memory-mapped and large."""
    parts = [
        adaptive_avg_pool2d(images[torch.from_numpy(some)].float(), _THUMB).flatten(1)
        for some in np.split(rows, range(_BLOCK, len(rows), _BLOCK))
    ]
    # Differences are small where the terms are large: distances take double precision.
    return torch.cat(parts).double().numpy()


@dataclass(frozen=True)
class Alignment:
    """How far images show the attributes that were asked for.

    Attributes
    ----------
    per_prompt
        A row for each group and prompt (``target``, ``protected``, ``prompt_index``): ``prompt``,
        ``images``, and the share of them that agree in ``target_agreement``,
        ``protected_agreement``, ``both_agreement``.
    per_group
        The same for each group ``(t,p)``, without ``prompt``.
    confusion
        Counts, 4 x 4: the group that was asked (rows) against the group that was read.
    """

    per_prompt: pd.DataFrame
    per_group: pd.DataFrame
    confusion: pd.DataFrame


def alignment(
    images: Tensor,
    manifest: pd.DataFrame,
    read: Read,
    *,
    target: str,
    protected: str,
) -> Alignment:
    """Compare what was asked of a generator with what an independent classifier reads.

    Parameters
    ----------
    images
        (n, 3, s, s) uint8, in the order of ``manifest``.
    manifest
        n rows with ``target``, ``protected``, ``prompt_index`` and ``prompt``.
    read
        Gives the probability of both attributes; from 0.5 on the attribute is read as 1.
    target, protected
        Names of the attributes in what ``read`` returns.

    Raises
    ------
    repro.names.UnknownNameError
        If ``read`` returns no such attribute.
    ValueError
        If the manifest does not fit the images, or a probability is none.
    """
    if len(images) != len(manifest) or not len(manifest):
        raise ValueError(
            f"{len(images)} images but {len(manifest)} rows of the manifest; one of each is "
            "needed, and at least one"
        )
    parts = [_read(read, some, (target, protected)) for some in torch.split(images, _AT_ONCE)]
    seen = {name: np.concatenate([part[name] for part in parts]) for name in (target, protected)}
    asked_t, asked_p = (manifest[name].to_numpy(dtype=int) for name in ("target", "protected"))
    table = manifest[["target", "protected", "prompt_index", "prompt"]].reset_index(drop=True)
    table["target_agreement"] = seen[target] == asked_t
    table["protected_agreement"] = seen[protected] == asked_p
    table["both_agreement"] = table["target_agreement"] & table["protected_agreement"]
    group = _labels(asked_t, asked_p)
    names = [f"({t},{p})" for t, p in GROUPS]
    confusion = (
        pd.crosstab(group, _labels(seen[target], seen[protected]))
        .reindex(index=names, columns=names, fill_value=0)
        .rename_axis(index="asked", columns="read")
    )
    per_prompt = _agreement(table, ["target", "protected", "prompt_index"])
    per_prompt.insert(0, "prompt", table.groupby(list(per_prompt.index.names))["prompt"].first())
    per_group = _agreement(table.assign(group=group), ["group"])
    return Alignment(per_prompt, per_group, confusion)


def _agreement(table: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    shares = [name for name in table.columns if name.endswith("_agreement")]
    groups = table.groupby(by)
    found = groups[shares].mean()
    found.insert(0, "images", groups.size())
    return found


def _read(read: Read, images: Tensor, names: tuple[str, str]) -> dict[str, NDArray[np.int64]]:
    """Return what is read, 0 or 1, of each of ``names``."""
    probabilities, seen = read(images), {}
    for name in names:
        check_name("attribute", name, probabilities)
        values = np.asarray(probabilities[name], dtype=float)
        if values.shape != (len(images),) or not ((values >= 0) & (values <= 1)).all():
            raise ValueError(
                f"'read' must return, for {name!r}, {len(images)} probabilities from 0 to 1 for "
                f"as many images; it returned an array of shape {values.shape}"
                + (f" from {values.min():.4g} to {values.max():.4g}" if values.size else "")
            )
        seen[name] = (values >= 0.5).astype(np.int64)
    return seen


def _labels(target: ArrayLike, protected: ArrayLike) -> NDArray[np.str_]:
    """Return the group ``(t,p)`` of each example, (n,)."""
    pairs = zip(np.asarray(target).tolist(), np.asarray(protected).tolist(), strict=True)
    return np.array([f"({t},{p})" for t, p in pairs], dtype=np.str_)
