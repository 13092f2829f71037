"""What recorded runs cost: their time on the clock, by part of the study and stage."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from repro.study.runs import Record


def costs(records: Iterable[Record]) -> pd.DataFrame:
    """Return how long runs took, from their records; each had one thread, and others beside it.

    Returns
    -------
    pandas.DataFrame
        A row for each part of the study and stage: part, stage, runs, seeds, and in seconds the
        median of a run and the sum.
    """
    rows = [
        {
            "part": str(record.config["paper"]),
            "stage": str(record.config["stage"]),
            "seed": record.config["seed"],
            "seconds": float(record.body["seconds"]),
        }
        for record in records
    ]
    table = pd.DataFrame(rows, columns=["part", "stage", "seed", "seconds"])
    return (
        table.groupby(["part", "stage"], sort=False)
        .agg(
            runs=("seconds", "size"),
            seeds=("seed", "nunique"),
            median=("seconds", "median"),
            total=("seconds", "sum"),
        )
        .reset_index()
        .sort_values(["part", "total"], ascending=[True, False], ignore_index=True)
    )


def costs_markdown(records: Iterable[Record], name: str) -> str:
    """Return the costs of a profile's runs as Markdown.

    Parameters
    ----------
    name
        Of the profile.
    """
    table = costs(records)
    if table.empty:
        return f"No run of profile `{name}` is recorded.\n"
    lines = [
        f"| `{name}` | stage | runs | seeds | a run (s, median) | together (min) |",
        "|---|---|---|---|---|---|",
        *(
            f"| {part} | {stage} | {runs} | {seeds} | {median:.1f} | {total / 60:.1f} |"
            for part, stage, runs, seeds, median, total in table.to_numpy().tolist()
        ),
        f"| all | | {table['runs'].sum()} | | | {table['total'].sum() / 60:.1f} |",
    ]
    return "\n".join(lines) + "\n"
