"""`vddbench evaluate`, `rank`, `diff`, `power` and `demo`: the commands that write and read records."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vddbench.commands.options import (
    DEFAULT_SEEDS,
    PROTOCOL_NAME,
    RANKED_STUDENT,
    Device,
    Force,
    Json,
    OnlyDivision,
    OnlyStudent,
    OnlyTask,
    Results,
    Roots,
    Seeds,
    Students,
    friendly,
)
from vddbench.system.progress import say


@friendly
def evaluate(
    paths: Annotated[list[Path], typer.Argument(metavar="SUBMISSION", help="submissions/TASK/METHOD, one or more")],
    students: Students = RANKED_STUDENT,
    seeds: Seeds = DEFAULT_SEEDS,
    results: Results = Path("results"),
    force: Force = False,
    device: Device = None,
    probes: Annotated[
        bool, typer.Option("--probes", help="also test each student on test videos with shuffled, reversed and frozen frames")
    ] = False,
    frames: Annotated[
        str | None,
        typer.Option(
            help="frozen or shuffled: train on the clips without their motion; recorded as METHOD_frozen or METHOD_shuffled, "
            "never ranked"
        ),
    ] = None,
    protocol: Annotated[
        str, typer.Option(help="v3 is ranked; sdd replays the field's released code, to compare with what papers print")
    ] = PROTOCOL_NAME,
    epochs: Annotated[
        int | None, typer.Option(min=1, max=10_000, help="with --protocol sdd: passes over the set (default: 500, as released)")
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            help="slurm (resources: cluster.toml), or local for all GPUs of this machine: submit and follow a run, then rank"
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--run", help="with --cluster: folder of the run (default: runs/evaluate-HASH)")
    ] = None,
) -> None:
    """Train students on submissions and record their scores.

    Students that have a record are skipped, so the command can be repeated.
    """
    from vddbench.protocol import protocol_named

    chosen_protocol = protocol_named(protocol, epochs)
    if cluster is not None:
        from vddbench.cluster.follow import evaluate as evaluate_there
        from vddbench.commands.cluster_options import cluster_named

        if force:
            raise LookupError("--force and --cluster exclude each other: a run evaluates only what is not recorded yet")
        if device is not None:
            raise LookupError("--device and --cluster exclude each other: CUDA_VISIBLE_DEVICES limits the GPUs of a run")
        if frames:
            raise LookupError("--frames and --cluster exclude each other: train on changed clips without --cluster")
        evaluate_there(paths, students.split(","), range(seeds), results, cluster_named(cluster), out, probes, chosen_protocol)
        return
    if out is not None:
        raise LookupError("--run needs --cluster")
    from vddbench.evaluation.evaluate import evaluate as run
    from vddbench.system.device import named_device

    chosen = named_device(device) if device else None
    run(
        paths,
        students=students.split(","),
        seeds=range(seeds),
        results=results,
        force=force,
        device=chosen,
        probes=probes,
        frames=frames,
        protocol=chosen_protocol,
    )
    say(f"next: vddbench rank --results {results}")


@friendly
def rank(
    results: Roots = [Path("results")],  # noqa: B006 - typer reads it
    task: OnlyTask = None,
    student: OnlyStudent = None,
    form: Annotated[str, typer.Option("--format", help="table, md, csv, json, latex or parquet")] = "table",
    as_json: Json = False,
    track: Annotated[str | None, typer.Option(help="only this track: hard or soft labels")] = None,
    reported: Annotated[
        bool, typer.Option("--reported", help="also print what papers report, never ranked; with --format table or md")
    ] = False,
    division: OnlyDivision = None,
    chart: Annotated[
        Path | None, typer.Option(help="also draw accuracy against bytes of one table, `open` by default: FILE.png or FILE.svg")
    ] = None,
) -> None:
    """Print the ranked tables of all records: of division `ipc` (at most ipc clips per class), then `open` (any number of
    clips within the bytes)."""
    from vddbench.leaderboard.tables import show

    if track not in {None, "hard", "soft"}:
        raise LookupError(f"--track {str(track)[:40]!r} is unknown; allowed: hard, soft")
    show(results, task, student, "json" if as_json else form, track, reported, division, chart)


@friendly
def diff(
    first: Annotated[str, typer.Argument(help="a method as tables name it, e.g. dm_fast")],
    second: Annotated[str, typer.Argument(help="the method to compare it with, e.g. random")],
    task: OnlyTask = None,
    student: OnlyStudent = None,
    results: Roots = [Path("results")],  # noqa: B006 - typer reads it
    submissions: Annotated[Path, typer.Option(help="folder of the submissions, to compare their manifests")] = Path(
        "submissions"
    ),
    division: OnlyDivision = None,
    as_json: Json = False,
) -> None:
    """Compare two methods: the paired difference of their top-1 with its 95 % interval, overall and by class, and other
    values that differ (bytes, clips, config, environment)."""
    from vddbench.leaderboard.differences import show

    show(results, submissions, first, second, task, student, division, as_json)


@friendly
def power(
    delta: Annotated[float, typer.Option(min=0.01, max=100, help="difference in top-1 to detect, in points")] = 1.0,
    task: OnlyTask = None,
    student: OnlyStudent = None,
    results: Roots = [Path("results")],  # noqa: B006 - typer reads it
    division: OnlyDivision = None,
    as_json: Json = False,
) -> None:
    """Estimate how many students of each set are needed to detect a difference of --delta points between two sets."""
    from vddbench.leaderboard.power import show

    show(results, delta, task, student, division, as_json)


@friendly
def demo(results: Results = Path("results")) -> None:
    """Prepare movingshapes, print and draw the ranked table of the package's records, and train one recorded student again.

    Writes vddbench-demo.gif, which shows the clips of each row, and one record.
    """
    from vddbench.commands.demo import run

    run(results)
