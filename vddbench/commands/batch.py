"""`vddbench batch ...` and `vddbench doctor`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vddbench.commands.cluster_options import Bundle, ClusterName, PerGpu, bundle_size, cluster_named, with_resources
from vddbench.commands.options import (
    DEFAULT_SEEDS,
    PROTOCOL_NAME,
    RANKED_STUDENT,
    Command,
    Json,
    Results,
    Students,
    friendly,
    parse_task,
)
from vddbench.system.progress import clean, say

if TYPE_CHECKING:  # help needs no pydantic
    from vddbench.cluster.jobs import Job
    from vddbench.cluster.plan import Run
    from vddbench.cluster.submit import Where

batch = typer.Typer(
    no_args_is_help=True,
    help="Hundreds of evaluations or distillations (cells) on Slurm or on this machine's GPUs: plan, submit, watch, collect.",
)
MAX_LINE = 10_000  # characters of a log's line that are printed at once
RunFolder = Annotated[Path, typer.Argument(help="folder of the run, runs/NAME")]


@batch.command(cls=Command)
@friendly
def plan(
    submissions: Annotated[
        list[Path] | None, typer.Argument(metavar="SUBMISSION", help="submissions/TASK/METHOD, one or more")
    ] = None,
    out: Annotated[Path, typer.Option(help="folder of the run, runs/NAME")] = Path("runs/run"),
    students: Students = RANKED_STUDENT,
    seeds: Annotated[
        int, typer.Option(min=1, max=1000, help="seeds 0..N-1 of the students or of the distillations")
    ] = DEFAULT_SEEDS,
    results: Results = Path("results"),
    distill: Annotated[str | None, typer.Option(help="comma-separated baselines to distill, instead of evaluating")] = None,
    task: Annotated[str | None, typer.Option(help="with --distill: task to distill for, e.g. miniucf-ipc1")] = None,
    preset: Annotated[str | None, typer.Option(help="with --distill: preset of the baselines, e.g. fast")] = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="measure the time of students on this machine if no record has it")
    ] = False,
    probes: Annotated[bool, typer.Option("--probes", help="also test each student on test videos without motion")] = False,
    protocol: Annotated[str, typer.Option(help="v3 or sdd, as in vddbench evaluate")] = PROTOCOL_NAME,
    epochs: Annotated[int | None, typer.Option(min=1, max=10_000, help="with --protocol sdd: passes over the set")] = None,
) -> None:
    """Write the cells of a run to its folder and print them. Submits nothing; planning again adds new cells."""
    from vddbench.cluster.planning import distill_plan, evaluate_plan
    from vddbench.cluster.screen import show_plan

    if (distill is None) != bool(submissions):
        raise LookupError("give submissions to evaluate, or --distill METHOD,... with --task")
    own = {
        "--students": students != RANKED_STUDENT, "--results": results != Path("results"), "--measure": measure,
        "--probes": probes, "--protocol": protocol != PROTOCOL_NAME, "--epochs": epochs,
    }  # fmt: skip
    if unused := [name for name, given in (own if distill else {"--task": task, "--preset": preset}).items() if given]:
        raise LookupError(f"{', '.join(unused)}: only {'without' if distill else 'with'} --distill")
    if distill is None:
        from vddbench.protocol import protocol_named

        chosen = protocol_named(protocol, epochs)
        planned = evaluate_plan(submissions or [], students.split(","), range(seeds), results, out, measure, probes, chosen)
    elif task is None:
        raise LookupError("--distill needs --task")
    else:
        planned = distill_plan(distill.split(","), parse_task(task), range(seeds), preset, out)
    show_plan(planned)
    say(f"next: vddbench batch submit {out}")


@batch.command(cls=Command)
@friendly
@with_resources
def submit(
    path: RunFolder,
    cluster: ClusterName = "slurm",
    bundle: Bundle = "auto",
    per_gpu: PerGpu = 1,
    *,
    asked: dict[str, Any],
) -> None:
    """Submit all cells that are neither done nor in a job. With --cluster local, run them here until they are done."""
    from vddbench.cluster.follow import work
    from vddbench.cluster.resources import resources
    from vddbench.cluster.submit import submit as run_submit

    run, wanted = _opened(path), resources(asked)

    def give(where: Where) -> list[Job]:
        jobs = run_submit(run, wanted, where)
        if not jobs:
            say("nothing to submit: every cell is done or has a job; see vddbench batch status, or retry")
        return jobs

    work(run, cluster_named(cluster), give, bundle_size(bundle), wanted.max_parallel, per_gpu)


@batch.command(cls=Command)
@friendly
def status(
    path: RunFolder,
    watch: Annotated[bool, typer.Option("--watch", help="refresh until nothing runs or waits")] = False,
    as_json: Json = False,
) -> None:
    """Show which cells are done, running, pending or failed, the speed and the time left."""
    from vddbench.cluster import screen
    from vddbench.cluster.status import status as status_of

    run = _opened(path)
    if as_json:
        typer.echo(json.dumps(status_of(run).to_json(), indent=1))
    elif watch:
        screen.watch(run)
    else:
        screen.show(status_of(run))


@batch.command(cls=Command)
@friendly
def logs(path: RunFolder, cell: Annotated[int, typer.Argument(min=0, help="number of a cell, from batch status")]) -> None:
    """Print the output of a cell."""
    run = _opened(path)
    if cell >= len(run.cells):
        raise LookupError(f"cell {cell}: {path} has cells 0 to {len(run.cells) - 1}")
    log = run.log(run.cells[cell])
    if not log.exists():
        title = run.cells[cell].title
        raise FileNotFoundError(f"cell {cell} ({title}) has no output; the output of its task is in {run.path / 'slurm'}")
    with log.open(errors="replace") as text:
        for line in iter(lambda: text.readline(MAX_LINE), ""):
            typer.echo(clean(line.rstrip("\n")))


@batch.command(cls=Command)
@friendly
@with_resources
def retry(
    path: RunFolder,
    cluster: ClusterName = "slurm",
    kind: Annotated[str | None, typer.Option("--class", help="only this class of failure, e.g. oom")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="all failed cells, including refused submissions and bugs")] = False,
    bundle: Bundle = "auto",
    per_gpu: PerGpu = 1,
    *,
    asked: dict[str, Any],
) -> None:
    """Submit failed cells again if another try can help.

    New jobs request the resources of the last one, and twice the memory if it ran out.
    """
    from vddbench.cluster.follow import work
    from vddbench.cluster.submit import retry as run_retry

    run = _opened(path)

    def give(where: Where) -> list[Job]:
        return run_retry(run, where, asked, kind, failed)

    work(run, cluster_named(cluster), give, bundle_size(bundle), asked.get("max_parallel"), per_gpu)


@batch.command(cls=Command)
@friendly
def cancel(path: RunFolder) -> None:
    """Cancel all jobs of a run. Students in training are saved; `retry` resumes them."""
    from vddbench.cluster.submit import cancel as run_cancel

    run_cancel(_opened(path))


@batch.command(cls=Command)
@friendly
def collect(
    path: RunFolder,
    results: Results = Path("results"),
    submissions: Annotated[Path, typer.Option(help="folder of the submissions")] = Path("submissions"),
) -> None:
    """Check the files that cells made and copy them to where they are ranked. Exit code 3 if cells are missing or damaged."""
    from vddbench.cluster.collect import collect as run_collect

    collected = run_collect(_opened(path), results, submissions)
    say(f"{len(collected.copied):,} copied, {len(collected.there):,} already there, {len(collected.missing):,} missing")
    problems = {**collected.damaged, **collected.other}
    for index, problem in problems.items():
        say(f"cell {index}: {problem}", style="red")
    if collected.missing or problems:
        raise typer.Exit(3)


@friendly
@with_resources
def doctor(
    folder: Annotated[Path, typer.Option(help="a folder on the file system that all nodes share")] = Path("runs"),
    *,
    asked: dict[str, Any],
) -> None:
    """Check the Slurm and the settings of this site: query Slurm, and run a job of at most a minute."""
    from vddbench.cluster.doctor import doctor as examine
    from vddbench.cluster.resources import resources
    from vddbench.system.home import home

    raise typer.Exit(0 if examine(resources(asked), folder.resolve(), home()) else 1)


def _opened(path: Path) -> Run:
    from vddbench.cluster.plan import Run

    return Run.open(path)
