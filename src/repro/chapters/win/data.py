"""From data settings to tensors: what is declared, what is read, how it is split and encoded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from repro.data import adult, splits, tabular, toycensus
from repro.settings import DataSettings

if TYPE_CHECKING:
    from repro.training import Examples


def census_settings(settings: DataSettings) -> toycensus.CensusSettings:
    """Return the settings of the simulation that these records come from."""
    census = toycensus.CensusSettings()
    if settings.records is not None:
        census = replace(census, n=settings.records)
    if settings.bias is not None:
        census = replace(census, bias=settings.bias)
    return census


def declared_sha256(settings: DataSettings) -> dict[str, str]:
    """Return the sha256 that the data must have, without reading them."""
    if settings.name == "adult":
        return {file.name: file.sha256 for file in adult.FILES}
    return {"toycensus": toycensus.fingerprint(census_settings(settings))}


@lru_cache(maxsize=4)
def load_table(settings: DataSettings) -> tabular.Table:
    """Read or simulate the table; kept in memory for the next run."""
    if settings.name == "adult":
        return adult.load(missing=settings.missing)
    return toycensus.generate(census_settings(settings))


@dataclass(frozen=True)
class TaskData:
    """A table, split and encoded for one seed."""

    table: tabular.Table
    indices: dict[str, np.ndarray]  # part -> rows of the table
    encoder: tabular.Encoder
    parts: dict[str, Examples]

    @property
    def width(self) -> int:
        """Number of inputs of a model."""
        return self.encoder.d


@lru_cache(maxsize=2)
def task_data(settings: DataSettings, seed: int) -> TaskData:
    """Split by ``seed`` and encode with statistics of the pre-training training part only.

    The new task is encoded with the same statistics, because the pre-trained layers expect them.
    """
    import torch  # here: a plan reads digests from this module, and loads none

    from repro.training import Examples

    table = load_table(settings)
    indices = splits.task_split(table.target, table.protected, seed=seed)
    encoder = tabular.Encoder.fit(
        table, indices["pretrain_train"], include_protected=settings.include_protected
    )
    inputs = torch.from_numpy(encoder.transform(table.frame))
    target = torch.from_numpy(table.target.astype(np.int64))
    protected = torch.from_numpy(table.protected.astype(np.int64))
    parts = {}
    for part in splits.PARTS:
        rows = torch.from_numpy(indices[part])
        parts[part] = Examples(inputs[rows], target[rows], protected[rows])
    return TaskData(table, indices, encoder, parts)
