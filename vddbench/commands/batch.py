"""`vddbench batch ...`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from vddbench.cluster.jobs import Cluster, Job, Resources
from vddbench.cluster.local import Holding
from vddbench.cluster.plan import Run
from vddbench.commands.options import Results, Students, friendly, parse_task
from vddbench.protocol import V1
from vddbench.system.progress import clean, say

batch = typer.Typer(
    no_args_is_help=True, help="Hundreds of cells on Slurm or on this machine's GPUs: plan, submit, watch, collect."
)
MAX_LINE = 10_000
Runs = Annotated[Path, typer.Argument(help="folder of the run, runs/NAME")]
Where = Annotated[str, typer.Option(help="slurm, or local: this machine")]
Partition = Annotated[str | None, typer.Option(help="of Slurm")]
Gpus = Annotated[int | None, typer.Option(min=0, help="GPUs a task (default 1)")]
Cpus = Annotated[int | None, typer.Option(min=1, help="cores a task (default 4)")]
Mem = Annotated[float | None, typer.Option(help="GB a task (default 16)")]
Minutes = Annotated[int | None, typer.Option("--time", min=1, help="minutes a task (default 60)")]
Parallel = Annotated[int | None, typer.Option(min=1, help="tasks at a time")]
Setup = Annotated[list[str] | None, typer.Option(help='shell line before Python starts, e.g. "module load cuda"; repeatable')]
Bundle = Annotated[str, typer.Option(help="cells a task; auto: as many as are expected to take 10 minutes")]


@batch.command()
@friendly
def plan(
    submissions: Annotated[list[Path] | None, typer.Argument(help="submissions/TASK/METHOD, one or more")] = None,
    out: Annotated[Path, typer.Option(help="folder of the run, runs/NAME")] = Path("runs/run"),
    students: Students = "convnet3d",
    seeds: Annotated[
        int, typer.Option(min=1, max=1000, help="seeds 0..N-1, of students or of distillations")
    ] = V1.default_seeds,
    results: Results = Path("results"),
    distill: Annotated[str | None, typer.Option(help="comma-separated baselines to distill, instead of evaluating")] = None,
    task: Annotated[str | None, typer.Option(help="with --distill: the task")] = None,
    preset: Annotated[str | None, typer.Option(help="with --distill, e.g. fast")] = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="time students here where no record tells how long they take")
    ] = False,
) -> None:
    """Write down the cells of a run. Nothing is submitted; planning again adds what is new."""
    from vddbench.cluster.planning import evaluate_plan, show

    if (distill is None) != bool(submissions):
        raise LookupError("give submissions to evaluate, or --distill METHOD,... with --task")
    if distill is None:
        run, new, recorded = evaluate_plan(submissions or [], students.split(","), range(seeds), results, out, measure)
    else:
        from vddbench.cluster.planning import distill_plan

        if task is None:
            raise LookupError("--distill needs --task")
        run, new, recorded = distill_plan(distill.split(","), parse_task(task), range(seeds), preset, out)
    show(run, new, recorded)


@batch.command()
@friendly
def submit(
    path: Runs,
    cluster: Where = "slurm",
    partition: Partition = None,
    account: Partition = None,
    qos: Partition = None,
    constraint: Partition = None,
    gpus: Gpus = None,
    cpus: Cpus = None,
    mem: Mem = None,
    minutes: Minutes = None,
    max_parallel: Parallel = None,
    setup: Setup = None,
    bundle: Bundle = "auto",
    per_gpu: Annotated[int, typer.Option(min=1, help="cells on one GPU at a time, with --cluster local")] = 1,
) -> None:
    """Give all cells that are not done and not submitted to jobs. With --cluster local, runs them here until done."""
    from vddbench.cluster.follow import work
    from vddbench.cluster.submit import submit as run_submit

    asked = _resources(partition, account, qos, constraint, gpus, cpus, mem, minutes, max_parallel, setup)
    run, kind = Run.open(path), cluster_named(cluster)

    def give(taken: Holding | None = None) -> list[Job]:
        jobs = run_submit(run, kind, asked, _bundle(bundle), taken)
        if not jobs:
            say("nothing to submit: every cell is done or has a job; see vddbench batch status, or retry")
        return jobs

    if kind == "local":
        work(run, asked.max_parallel, per_gpu, give)
    else:
        give()


@batch.command()
@friendly
def status(
    path: Runs,
    watch: Annotated[bool, typer.Option("--watch", help="refresh until nothing runs or waits")] = False,
    form: Annotated[str, typer.Option("--format", help="table or json")] = "table",
) -> None:
    """What is done, runs, waits and failed; speed and time left."""
    from vddbench.cluster.screen import show
    from vddbench.cluster.status import status as look

    if form not in {"table", "json"}:
        raise LookupError(f"--format {form[:40]!r}: table or json")
    run = Run.open(path)
    if form == "json":
        typer.echo(json.dumps(look(run).to_json(), indent=1))
    elif not watch:
        show(look(run))
    else:
        from vddbench.cluster.follow import watch as follow

        follow(run)


@batch.command()
@friendly
def logs(path: Runs, cell: Annotated[int, typer.Argument(min=0, help="number of a cell, see status")]) -> None:
    """Print what a cell printed."""
    run = Run.open(path)
    if cell >= len(run.cells):
        raise LookupError(f"cell {cell}: {path} has cells 0 to {len(run.cells) - 1}")
    log = run.log(run.cells[cell])
    if not log.exists():
        title = run.cells[cell].title
        raise FileNotFoundError(f"cell {cell} ({title}) has printed nothing; what its task printed: {run.path / 'slurm'}")
    with log.open(errors="replace") as text:
        for line in iter(lambda: text.readline(MAX_LINE), ""):
            typer.echo(clean(line.rstrip("\n")))


@batch.command()
@friendly
def retry(
    path: Runs,
    cluster: Where = "slurm",
    kind: Annotated[str | None, typer.Option("--class", help="only this class of failure, e.g. oom")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="all failed cells, also refused submissions and bugs")] = False,
    partition: Partition = None,
    mem: Mem = None,
    minutes: Minutes = None,
    max_parallel: Parallel = None,
    bundle: Bundle = "auto",
    per_gpu: Annotated[int, typer.Option(min=1, help="cells on one GPU at a time, with --cluster local")] = 1,
) -> None:
    """Submit failed cells again: those that another try can help. Memory doubles for those that ran out of it."""
    from vddbench.cluster.follow import work
    from vddbench.cluster.retry import retry as run_retry

    given: dict[str, object] = {"partition": partition, "mem": mem, "time": minutes, "max_parallel": max_parallel}
    changes = {name: value for name, value in given.items() if value is not None}
    run, where = Run.open(path), cluster_named(cluster)

    def give(taken: Holding | None = None) -> list[Job]:
        return run_retry(run, where, changes, _bundle(bundle), kind, failed, taken)

    if where == "local":
        work(run, max_parallel, per_gpu, give)
    else:
        give()


@batch.command()
@friendly
def cancel(path: Runs) -> None:
    """Cancel all jobs of a run; students in training are saved, `retry` goes on with them."""
    from vddbench.cluster.retry import cancel as run_cancel

    run_cancel(Run.open(path))


@batch.command()
@friendly
def collect(
    path: Runs,
    results: Results = Path("results"),
    submissions: Annotated[Path, typer.Option(help="folder of the submissions")] = Path("submissions"),
) -> None:
    """Check what the cells made and copy it to where it is ranked. Exit code 3 when cells are missing or damaged."""
    from vddbench.cluster.collect import collect as run_collect

    run = Run.open(path)
    found = run_collect(run, results, submissions)
    say(f"{len(found.copied):,} copied, {len(found.there):,} were there, {len(found.missing):,} missing")
    for problems in (found.damaged, found.other):
        for index, problem in problems.items():
            say(f"cell {index}: {problem}", style="red")
    if found.missing or found.damaged or found.other:
        raise typer.Exit(3)


@friendly
def doctor(
    folder: Annotated[Path, typer.Option(help="on the file system that nodes share")] = Path("runs"),
    partition: Partition = None,
    account: Partition = None,
    qos: Partition = None,
    constraint: Partition = None,
    gpus: Gpus = None,
    cpus: Cpus = None,
    setup: Setup = None,
) -> None:
    """Try this site's Slurm and its settings: a few questions, and a job of at most a minute."""
    from vddbench.cluster.doctor import doctor as examine
    from vddbench.system.home import home

    asked = _resources(partition, account, qos, constraint, gpus, cpus, None, None, None, setup)
    raise typer.Exit(0 if examine(asked, folder.resolve(), home()) else 1)


def _resources(
    partition: str | None,
    account: str | None,
    qos: str | None,
    constraint: str | None,
    gpus: int | None,
    cpus: int | None,
    mem: float | None,
    minutes: int | None,
    max_parallel: int | None,
    setup: list[str] | None,
) -> Resources:
    from vddbench.cluster.site import resources

    return resources(
        partition=partition,
        account=account,
        qos=qos,
        constraint=constraint,
        gpus=gpus,
        cpus=cpus,
        mem=mem,
        time=minutes,
        max_parallel=max_parallel,
        setup=tuple(setup) if setup else None,
    )


def cluster_named(name: str) -> Cluster:
    if name not in get_args(Cluster):
        raise LookupError(f"--cluster {name[:40]!r}: slurm or local")
    return cast(Cluster, name)


def _bundle(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdecimal() or not 0 < int(text) <= 10_000:
        raise LookupError(f"--bundle {text[:40]!r}: auto, or 1 to 10000 cells a task")
    return int(text)
