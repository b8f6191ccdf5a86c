"""`vddbench evaluate`, `rank`, `diff`, `power` and `demo`: records are made and read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vddbench.commands.options import (
    Force,
    OnlyStudent,
    OnlyTask,
    Results,
    Roots,
    Seeds,
    Students,
    friendly,
)
from vddbench.protocol import V1


@friendly
def evaluate(
    paths: Annotated[list[Path], typer.Argument(help="submissions/TASK/METHOD, one or more")],
    students: Students = "convnet3d",
    seeds: Seeds = V1.default_seeds,
    results: Results = Path("results"),
    force: Force = False,
    cluster: Annotated[
        str | None, typer.Option(help="slurm, or local for all GPUs here: plans a run, submits it, follows it, ranks")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--run", help="with --cluster: folder of the run (default runs/ and the time)")
    ] = None,
) -> None:
    """Train students on submissions and record their scores. Recorded seeds are skipped, so a call can be repeated."""
    if cluster is not None:
        from vddbench.cluster.follow import evaluate as evaluate_there
        from vddbench.commands.batch import cluster_named

        if force:
            raise LookupError("--force and --cluster: a run makes what is not recorded yet; leave one of them out")
        evaluate_there(paths, students.split(","), range(seeds), results, cluster_named(cluster), out)
        return
    from vddbench.evaluation.evaluate import evaluate as run

    run(paths, students=students.split(","), seeds=range(seeds), results=results, force=force)


@friendly
def rank(
    results: Roots = [Path("results")],  # noqa: B006 - typer reads it
    task: OnlyTask = None,
    student: OnlyStudent = None,
    form: Annotated[str, typer.Option("--format", help="table, md, csv, json, latex or parquet")] = "table",
    track: Annotated[str | None, typer.Option(help="hard or soft labels")] = None,
    reported: Annotated[bool, typer.Option("--reported", help="below, what papers report: never ranked")] = False,
) -> None:
    """Print the ranked tables of all records."""
    from vddbench.leaderboard.tables import show

    if track not in {None, "hard", "soft"}:
        raise LookupError(f"--track {str(track)[:40]!r}: hard or soft")
    show(results, task, student, form, track, reported)


@friendly
def diff(
    first: str,
    second: str,
    task: OnlyTask = None,
    student: OnlyStudent = None,
    results: Roots = [Path("results")],  # noqa: B006 - typer reads it
    submissions: Annotated[Path, typer.Option(help="folder of the submissions, for what their manifests say")] = Path(
        "submissions"
    ),
) -> None:
    """Is method FIRST better than SECOND? The paired difference of their top-1, with its 95 % interval, by class, and what else
    differs: bytes, clips, config, environment."""
    from vddbench.leaderboard.differences import show

    show(results, submissions, first, second, task, student)


@friendly
def power(
    delta: Annotated[float, typer.Option(min=0.01, max=100, help="points of top-1 that two methods differ by")] = 1.0,
    task: OnlyTask = None,
    student: OnlyStudent = None,
    results: Roots = [Path("results")],  # noqa: B006 - typer reads it
) -> None:
    """How many students of each would tell two methods apart that differ by --delta points?"""
    from vddbench.leaderboard.power import show

    show(results, delta, task, student)


@friendly
def demo(results: Results = Path("results")) -> None:
    """The whole road on embedded data: prepare movingshapes, evaluate the bundled submissions, print the ranked table."""
    from vddbench.commands.demo import run

    run(results)
