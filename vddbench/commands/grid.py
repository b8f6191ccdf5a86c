"""`vddbench grid`: a published table as one run."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vddbench.commands.cluster_options import ClusterName, cluster_named, with_resources
from vddbench.commands.options import PROTOCOL_NAME, Results, friendly
from vddbench.lookup import unknown
from vddbench.system.progress import say

LATEX = "table.tex"  # the final tables, in the run's folder

if TYPE_CHECKING:  # help needs no pydantic
    from vddbench.cluster.grid import Grid
    from vddbench.protocol import Protocol, Sdd


@friendly
@with_resources
def grid(
    name: Annotated[str, typer.Argument(help="paper: MiniUCF and HMDB51 at ipc 1 and 5; tiny: movingshapes with few steps")],
    methods: Annotated[
        str | None, typer.Option(help="baselines, comma-separated (default of paper: all for which papers report a number)")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="preset of all methods that have it, e.g. fast (default of paper: published settings)")
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="prepared datasets, comma-separated")] = None,
    ipc: Annotated[str | None, typer.Option(help="values of IPC, of 1, 5 and 10, comma-separated")] = None,
    distill_seeds: Annotated[
        int | None, typer.Option(min=1, max=100, help="number of sets that each method distills per task")
    ] = None,
    students: Annotated[str | None, typer.Option(help="networks to train, comma-separated")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, max=1000, help="number of students of each network per set")] = None,
    protocols: Annotated[str | None, typer.Option(help="v3, sdd, or both: v3,sdd")] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, max=10_000, help="with protocol sdd: passes over the set (default: 500, as released)")
    ] = None,
    cluster: ClusterName = "local",
    out: Annotated[Path | None, typer.Option("--run", help="folder of the run (default: runs/grid-NAME-HASH)")] = None,
    results: Results = Path("results"),
    submissions: Annotated[Path, typer.Option(help="folder of the submissions")] = Path("submissions"),
    form: Annotated[str, typer.Option("--format", help="format of the final tables: table, md, csv, json or latex")] = "table",
    measure: Annotated[
        bool,
        typer.Option(
            "--measure", help="measure the time of students and methods on this machine if no record or manifest has it"
        ),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="write and print the plan; start nothing")] = False,
    *,
    asked: dict[str, Any],
) -> None:
    """Distill and evaluate all sets of a published table, on Slurm or on this machine, and print the table.

    The same command resumes an interrupted run.
    """
    from vddbench.cluster import grid as grids
    from vddbench.cluster.follow import finish, run_folder, what_failed
    from vddbench.cluster.screen import show_plan

    if name not in grids.GRIDS:
        raise LookupError(unknown("grid", name, list(grids.GRIDS)))
    if form not in grids.FORMS:
        raise LookupError(f"format {form[:40]!r} is unknown; allowed: {', '.join(grids.FORMS)}")
    chosen: dict[str, Any] = {
        "methods": words(methods),
        "preset": preset,
        "datasets": words(dataset),
        "ipcs": tuple(map(number, words(ipc) or ())) or None,
        "distill_seeds": distill_seeds,
        "students": words(students),
        "seeds": seeds,
        "protocols": protocols_of(grids.GRIDS[name], words(protocols), epochs),
    }
    narrowed = replace(grids.GRIDS[name], **{option: value for option, value in chosen.items() if value is not None})
    wanted, where = grids.checked(narrowed, needs_data=not dry_run), cluster_named(cluster)
    out = out or run_folder(f"grid-{name}", wanted.to_json())
    planned = grids.plan(wanted, results, submissions, out, measure)
    show_plan(planned)
    if dry_run:
        for problem in grids.not_prepared(wanted.datasets).values():
            say(f"before the cells can run: {problem}", style="yellow")
        say(f"nothing was started; without --dry-run the same command runs the cells of {out}")
        return
    failed = finish(planned.run, asked, where, results, submissions)
    if failed:  # first, because without any record there is no table
        say(f"error: the table is incomplete: {what_failed(failed, out, where)}", style="red")
    grids.show(wanted, results, form, out / LATEX)
    say(f"the same tables in LaTeX: {out / LATEX}")
    if PROTOCOL_NAME in {protocol.name for protocol in wanted.protocols}:  # the board ranks only its records
        board = ["vddbench", "site", "build", "--results", str(results), "--submissions", str(submissions), "--out", "site"]
        say(f"as a web page: {shlex.join(board)}")
    if failed:
        raise typer.Exit(1)


def words(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(dict.fromkeys(word.strip() for word in text.split(",")))


def number(text: str) -> int:
    if not text.isdecimal() or len(text) > 9:
        raise LookupError(f"--ipc {text[:40]!r}: allowed are numbers separated by commas, e.g. 1,5")
    return int(text)


def protocols_of(base: Grid, names: tuple[str, ...] | None, epochs: int | None) -> tuple[Protocol | Sdd, ...]:
    """The protocols of these names, or those of the grid. epochs: of sdd instead of the grid's."""
    from vddbench.protocol import SDD, protocol_named

    before = {protocol.name: protocol for protocol in base.protocols}
    chosen = [before[name] if name in before else protocol_named(name) for name in names or list(before)]
    if epochs is not None and SDD.name not in {protocol.name for protocol in chosen}:
        raise LookupError(f"--epochs belongs to protocol {SDD.name}")
    return tuple(protocol_named(one.name, epochs) if one.name == SDD.name and epochs else one for one in chosen)
