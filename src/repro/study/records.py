"""Records read back: those of this machine, else those exported to ``book/recorded/``.

An exported profile is one Parquet file: a row a run, its record as JSON with the confusion counts
of every group, from which each metric can be computed again under any definition. It carries no
example. Exported where the runs were computed, its metadata hold the digests of that process's
kernels.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from repro import machine, numerics
from repro.files import whole
from repro.metrics import METRICS
from repro.names import check_name
from repro.study.configs import RunConfig
from repro.study.once import once
from repro.study.profiles import profile_names, project_root
from repro.study.runs import Record, RecordError, Runs, check_body

#: key of a plan -> one record for each seed
Results = dict[str, list[Record]]


def recorded_folder() -> Path:
    """Return the folder of exported records."""
    return project_root() / "book" / "recorded"


def recorded_file(profile: str) -> Path:
    """Return where the records of a profile are exported to, and read from."""
    return recorded_folder() / f"{profile}.parquet"


def export(records: Sequence[Record], path: Path) -> None:
    """Write records to one Parquet file, whole or not at all, by identity.

    With them go the digests of this process's kernels, if all records were computed on a machine
    like this one, in numbers as this process has them and by the same PyTorch.
    """
    rows = []
    for record in sorted(records, key=lambda r: r.run):
        config = record.config
        rows.append(
            {
                "run": record.run,
                "stage": config["stage"],
                "seed": config["seed"],
                "record": json.dumps(record.body, separators=(",", ":")),
            }
        )
    table = pa.Table.from_pandas(pd.DataFrame(rows), preserve_index=False)
    if records and all(_of_this_process(record) for record in records):
        kernels = {_KERNELS: json.dumps(numerics.kernels())}
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), **kernels})
    with whole(path) as part:
        pq.write_table(table, part, compression="zstd")


_KERNELS = "kernels"


def _of_this_process(record: Record) -> bool:
    here = {
        "machine": machine.describe("cpu"),
        "instructions": machine.instructions(),
        "numbers": numerics.kind(),
    }
    same = all(record.body.get(name) == value for name, value in here.items())
    return same and record.body["versions"]["torch"] == metadata.version("torch")


def other_kernels(path: Path) -> list[str] | None:
    """Name the kernels that round otherwise here than where an exported file was computed.

    Returns
    -------
    list of str or None
        Names as `repro.numerics.kernels` has them; None where the file does not say.
    """
    held = (pq.read_schema(path).metadata or {}).get(_KERNELS.encode())
    if held is None:
        return None
    there, here = json.loads(held), numerics.kernels()
    return [name for name in here if name in there and here[name] != there[name]]


_RUN = re.compile(r'"run":\s*"([^"]*)"')


class Exported(Mapping[str, Record]):
    """The records of an exported file by identity, each read and checked when it is asked for.

    Raises
    ------
    RecordError
        If the file is missing or not one of ours; on access, if a record in it was edited.
    """

    def __init__(self, path: Path) -> None:
        try:
            table = pd.read_parquet(path, columns=["run", "record"])
        except FileNotFoundError:
            raise RecordError(
                f"{path} is missing; 'repro export PROFILE' writes it from the runs"
            ) from None
        except Exception as error:  # pyarrow has its own many
            raise RecordError(f"{path} is not an exported set of records ({error})") from None
        self._path, self._remedy = path, f"'repro export {path.stem}' writes the file again"
        self._texts = dict(zip(table["run"], table["record"], strict=True))
        if len(self._texts) < len(table):
            raise RecordError(f"{path.name} holds a run twice; {self._remedy}")
        # What else a record says is checked when it is asked for; under a wrong name it never is.
        for run, text in self._texts.items():
            said = _RUN.search(str(text))
            if said is not None and said[1] != run:
                raise RecordError(
                    f"{path.name}, run {run} holds run {said[1]}, which its place contradicts; "
                    f"{self._remedy}"
                )
        self._known: dict[str, Record] = {}

    def __getitem__(self, run: str) -> Record:
        if run not in self._known:
            text = self._texts[run]
            try:
                body = json.loads(text)
            except (TypeError, ValueError):  # not text, or not JSON
                body = None
            check_body(
                body,
                where=f"{self._path.name}, run {run}",
                remedy=self._remedy,
                run=run,
            )
            self._known[run] = Record(body)
        return self._known[run]

    def __contains__(self, run: object) -> bool:
        return run in self._texts

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __len__(self) -> int:
        return len(self._texts)


def read_exported(path: Path) -> dict[str, Record]:
    """Return the records of an exported file by identity, each one checked.

    Raises
    ------
    RecordError
        If the file is missing, not one of ours, or a record in it was edited.
    """
    return dict(Exported(path))


@lru_cache(maxsize=8)
def _cached(path: Path, modified: int) -> Exported:
    return Exported(path)


@once
def recorded(profile: str) -> Mapping[str, Record]:
    """Return the exported records of a profile by identity; none if it was never exported."""
    path = recorded_file(profile)
    return _cached(path, path.stat().st_mtime_ns) if path.is_file() else {}


@once
def exported(run: str) -> Record | None:
    """Return one run as some profile exported it, or None."""
    return next((found[run] for name in profile_names() if run in (found := recorded(name))), None)


class ExportedFirst(Runs):
    """Runs of which exported ones go before those of this machine: what *is recorded*."""

    def find(self, config: RunConfig) -> Record | None:
        """Return the run as some profile exported it, else that of this machine, or None."""
        return exported(config.identity) or super().find(config)


def look_up(plan: Mapping[str, Sequence[RunConfig]], runs: Runs | None = None) -> Results:
    """Return what is known of a plan without computing: runs of this machine, else exported ones.

    Keys whose runs are not all known are left out, so that a mean is never over fewer seeds than
    it says.
    """
    store = runs or Runs()
    results: Results = {}
    for key, configs in plan.items():
        found = [find(config, store) for config in configs]
        known = [record for record in found if record is not None]
        if len(known) == len(configs):
            results[key] = known
    return results


def find(config: RunConfig, runs: Runs | None = None) -> Record | None:
    """Return the record of one run, of this machine or exported, or None."""
    return (runs or Runs()).find(config) or exported(config.identity)


def value(record: Record, quantity: str) -> float | None:
    """Return one quantity of a record.

    Parameters
    ----------
    record
        The record.
    quantity
        A metric of the test part (``equalized_odds_sum``), of another part
        (``before:equalized_odds_sum``), or a result of the stage (``results:separation_auc``).

    Raises
    ------
    UnknownNameError
        If there is no such metric, part or result; the nearest valid name is given.
    """
    part, _, name = quantity.rpartition(":")
    if part == "results":
        results = record.results
        check_name("result", name, results)
        found = results[name]
        return None if found is None else float(found)
    check_name("metric", name, METRICS)
    counts: Mapping[str, Any] = record.body["counts"]
    check_name("part", part or "test", counts)
    return record.metrics(part or "test")[name]


def paired(
    first: Sequence[Record],
    seconds: Sequence[Sequence[Record]],
    quantity: str,
    second_quantity: str | None = None,
) -> tuple[list[float], list[float]]:
    """Return a quantity of one setting and the mean of others, seed by seed, where all have it.

    Parameters
    ----------
    first, seconds
        Records of one setting, and of the others, all in the same order of seeds.
    second_quantity
        What is taken of the others, if not the same.
    """
    both = []
    for record, *others in zip(first, *seconds, strict=True):
        found = [value(record, quantity)]
        found += [value(other, second_quantity or quantity) for other in others]
        known = [number for number in found if number is not None]
        if len(known) == len(found):
            both.append((known[0], sum(known[1:]) / len(others)))
    return [a for a, _ in both], [b for _, b in both]
