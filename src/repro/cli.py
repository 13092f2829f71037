"""The ``repro`` command: preflight, verdicts, status, compare, verify, export, ship, show."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from repro import numerics
from repro.data.sources import DataError
from repro.names import UnknownNameError
from repro.settings import FaceData, SettingsError, SyntheticFaces
from repro.study.profiles import load_profile, project_root
from repro.study.runs import Record, RecordError, RunError, Runs, read_record

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="An executable reproducibility study of selective fine-tuning for fairness.",
)
EXPECTED = (UnknownNameError, SettingsError, RecordError, RunError, DataError)


@app.command()
def preflight() -> None:
    """Say what this machine can run: data, weights, device, keys, and each profile."""
    from repro.preflight import preflight as checks

    for check in checks():
        typer.echo(f"{'ok ' if check.fine else 'NO '} {check.what}: {check.says}")


@app.command()
def verdicts(
    profile: Annotated[str, typer.Argument(help="whose records to judge by")] = "desk",
    markdown: Annotated[bool, typer.Option(help="print a Markdown table")] = False,
    readme: Annotated[bool, typer.Option(help="rewrite README.md's tables and picture")] = False,
) -> None:
    """Print the verdict on every claim."""
    from repro.chapters import in_short
    from repro.study import verdicts as judge
    from repro.study.glance import at_a_glance_markdown

    if readme:
        write_readme(
            {
                "in short": partial(in_short.markdown, profile),
                "verdicts": partial(at_a_glance_markdown, profile),
            }
        )
        in_short.draw(project_root() / "book" / in_short.PICTURE, profile)
    elif markdown:
        typer.echo(at_a_glance_markdown(profile), nl=False)
    else:
        for verdict in judge.verdicts(profile):
            typer.echo(f"{verdict.claim.where:12} {verdict.words:18} {verdict.statement}")
            typer.echo(f"{'':31} {verdict.reason}.{judge.proportion(verdict)}")


@app.command()
def status(profile: Annotated[str, typer.Argument(help="whose runs to count")]) -> None:
    """Say which runs of a profile are there, which are missing, and how long those will take."""
    from repro.study.status import in_words
    from repro.study.status import status as counted

    table = counted(load_profile(profile))
    typer.echo(table.to_string(index=False, float_format="%.0f"))
    typer.echo(in_words(table))


@app.command()
def compare(
    first: Annotated[str, typer.Argument(help="folder of runs, .parquet file, or profile")],
    second: Annotated[str, typer.Argument(help="the same")],
    everything: Annotated[bool, typer.Option("--all", help="list what agrees, too")] = False,
) -> None:
    """Compare two sets of records; exit with 1 if something differs beyond the seed spread."""
    from repro.study.compare import compare as compared
    from repro.study.compare import read_set

    table = compared(read_set(first), read_set(second))
    both = table[table["only"] == ""] if len(table) else table
    for which, name in (("first", first), ("second", second)):
        alone = int((table["only"] == which).sum()) if len(table) else 0
        if alone:
            typer.echo(f"{alone} settings are only in {name}")
    if not len(both):
        typer.echo(
            "the two sets have no setting in common: runs of one profile's data and budget compare "
            "with records of the same; 'make study PROFILE=desk', or one of its notebooks with "
            "-p profile desk, computes runs that compare with desk",
            err=True,
        )
        raise typer.Exit(1)
    differs = both[both["agrees"].eq(False)]
    shown = both if everything else differs
    if len(shown):
        with pd.option_context("display.max_colwidth", 60, "display.width", 160):
            typer.echo(shown.drop(columns="only").to_string(index=False, float_format="%.4f"))
    identical, unknown = int(both["identical"].sum()), int(both["agrees"].isna().sum())
    typer.echo(
        f"{len(both)} comparisons: {identical} identical, "
        f"in {int(both['agrees'].eq(True).sum()) - identical} no difference is found by the spread "
        f"over seeds, {len(differs)} differ, {unknown} cannot be told (a single seed). "
        f"By chance alone about {0.05 * (len(both) - identical):.0f} would differ."
    )
    if len(differs):
        raise typer.Exit(1)


@app.command()
def verify(
    which: Annotated[
        str, typer.Argument(help="folder of runs, .parquet file, or profile; the runs here")
    ] = "",
) -> None:
    """Check that records, and the files of runs, are as they were written; exit with 1 if not."""
    from repro.study.compare import read_set

    wrong, found = 0, list[Path | Record]()
    if not which or Path(which).is_dir():
        found += Runs(Path(which) if which else None).folders()
    else:
        found += read_set(which).values()
    for one in found:
        try:
            (read_record(one) if isinstance(one, Path) else one).verify()
        except RecordError as error:
            wrong += 1
            typer.echo(str(error), err=True)
    typer.echo(f"{len(found) - wrong} of {len(found)} records are as they were written")
    if wrong:
        raise typer.Exit(1)


@app.command()
def export(
    profile: Annotated[str, typer.Argument(help="whose runs to export")],
    partial: Annotated[
        bool, typer.Option(help="export what there is, and say what is not")
    ] = False,
) -> None:
    """Write the records of a profile into book/recorded/ (no examples, no weights)."""
    from repro.chapters import in_short
    from repro.study.experiments import claims, everything
    from repro.study.records import export as write
    from repro.study.records import find, look_up, recorded_file
    from repro.study.sampling import export as export_errors

    chosen = load_profile(profile)
    plan = everything(chosen)
    found = {config.identity: find(config) for group in plan.values() for config in group}
    records = {run: record for run, record in found.items() if record is not None}
    missing = sorted(
        key for key, group in plan.items() if any(not found[c.identity] for c in group)
    )
    if missing:
        told = f"{len(missing)} settings of profile '{profile}' have not been run (first: "
        told += f"{missing[0]}); 'make study PROFILE={profile}' runs them"
        if not partial:
            raise RecordError(f"{told}; --partial exports the {len(records)} runs that are there")
        typer.echo(told)
    path = recorded_file(profile)
    if all(record.numbers == numerics.PORTABLE for record in records.values()):
        numerics.hold()  # so that the kernels are those that computed them
    write(list(records.values()), path)
    typer.echo(f"{len(records)} records -> {path.relative_to(project_root())}")
    judged = [
        (contrast, results, claim.paper)
        for claim in claims()
        if not chosen.is_simulated(claim.paper)
        for results in [look_up(claim.plan(chosen, chosen.seeds_of(claim.paper)))]
        for contrast in (*claim.contrasts(chosen), *claim.beside(chosen))
        if set(contrast.keys) <= results.keys()
    ] + [one for one in in_short.asked(chosen) if not chosen.is_simulated(one[2])]
    errors = path.with_suffix(".sampling.json")
    if number := export_errors(judged, errors):
        typer.echo(f"{number} errors of the test set -> {errors.relative_to(project_root())}")


@app.command()
def ship(profile: Annotated[str, typer.Argument(help="whose synthetic images to ship")]) -> None:
    """Pack the pools of synthetic images that a profile reads into models/pools/."""
    from repro.aimfair.packedset import pack
    from repro.chapters.aim import synthetic
    from repro.study.experiments import everything, with_upstream

    asked: list[Any] = [r for group in everything(load_profile(profile)).values() for r in group]
    read: dict[Path, tuple[FaceData, SyntheticFaces]] = {}
    upstream: list[Any] = [above for run in asked for above in with_upstream(run)]
    for one in (*asked, *upstream):
        images = getattr(one, "synthetic", None)
        if images is not None and images.source == "generator":
            data = getattr(one, "pretrained", one).data
            read[synthetic.shipped_folder(data, images)] = data, images
    if not read:
        raise SettingsError(f"profile '{profile}' reads no images of a generator")
    for target, (data, images) in read.items():
        drawn = synthetic.pool(data, images)
        if not target.is_dir():
            target.parent.mkdir(exist_ok=True)
            pack(synthetic.pool_folder(data, images), target)
        size = sum(path.stat().st_size for path in target.iterdir()) / 1e6
        typer.echo(f"{len(drawn):,} images, {size:.1f} MB -> {target.relative_to(project_root())}")


@app.command()
def show(
    run: Annotated[str, typer.Argument(help="a run's identity, or how it begins")],
    whole: Annotated[bool, typer.Option("--json", help="print all of it, as JSON")] = False,
) -> None:
    """Print one record: configuration, metrics, timings, versions, where it came from."""
    body = find_run(run).body
    if whole:
        typer.echo(json.dumps(body, indent=2))
        return
    about = (
        *("run", "config", "counts", "seconds", "device", "precision", "machine", "instructions"),
        *("python", "versions", "git_commit", "finished", "data_sha256"),
    )
    for name in about:
        if name in body:  # older records lack some
            typer.echo(f"{name}: {json.dumps(body[name])}")
    for part, metrics in body["metrics"].items():
        typer.echo(f"metrics, {part}:")
        for name, number in metrics.items():
            typer.echo(f"  {name:22} {number:.6f}")
    typer.echo("the rest, with every candidate's epochs: repro show --json " + body["run"])


def find_run(beginning: str) -> Record:
    """Return the one run, here or exported, whose identity begins so.

    Raises
    ------
    RecordError
        If there is none, or more than one.
    """
    from repro.study.records import read_exported, recorded_folder

    found: dict[str, Record] = {}
    for path in sorted(recorded_folder().glob("*.parquet")):
        found |= {k: r for k, r in read_exported(path).items() if k.startswith(beginning)}
    # Only those that are asked for: a corrupt one elsewhere is not in the way.
    for folder in Runs().folders():
        if folder.name.startswith(beginning):
            found[folder.name] = read_record(folder)
    if len(found) != 1:
        few = ", ".join(sorted(found)[:3])
        hint = f" ({few}, ...); give more of its name" if found else ""
        raise RecordError(f"{len(found)} known runs begin with '{beginning}'{hint}")
    return next(iter(found.values()))


def write_readme(blocks: Mapping[str, Callable[[], str]], path: Path | None = None) -> None:
    """Put each block between its marks in README.md; it is made once all marks are found."""
    target = path or project_root() / "README.md"
    text = target.read_text(encoding="utf-8")
    marks = {name: (f"<!-- {name}:begin -->", f"<!-- {name}:end -->") for name in blocks}
    for begin, end in marks.values():
        if end not in text.partition(begin)[2]:
            raise SettingsError(f"{target.name} lacks the marks {begin} and {end}")
    for name, (begin, end) in marks.items():
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n{blocks[name]()}{end}{rest.partition(end)[2]}"
    target.write_text(text, encoding="utf-8")


def main() -> None:
    """Run the command; an expected error is one line and exit status 2, not a traceback."""
    try:
        app()
    except EXPECTED as error:
        typer.echo(f"repro: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
