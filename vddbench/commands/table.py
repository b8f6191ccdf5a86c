"""`vddbench table`: the table that papers print, reported beside measured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vddbench.commands.options import PROTOCOL_NAME, RANKED_STUDENT, Json, Roots, friendly, parse_task


@friendly
def table(
    results: Roots = [Path("results")],  # noqa: B006 - typer reads it
    add: Annotated[
        list[str] | None,
        typer.Option(metavar="METHOD", help="also show this measured method, such as your own; may be repeated"),
    ] = None,
    form: Annotated[str, typer.Option("--format", help="table, md, csv, json or latex")] = "table",
    as_json: Json = False,
    students: Annotated[
        str, typer.Option(help="networks of the measured numbers, comma-separated; a column for each: do sets transfer?")
    ] = RANKED_STUDENT,
    protocol: Annotated[
        str, typer.Option(help="protocol of the measured numbers: v3, or sdd, which replays the field's released code")
    ] = PROTOCOL_NAME,
    epochs: Annotated[
        int | None, typer.Option(min=1, max=10_000, help="with --protocol sdd: only records of this many epochs (default: 500)")
    ] = None,
    tasks: Annotated[
        list[str] | None,
        typer.Option(
            "--task", help="column of the table; may be repeated (default: MiniUCF and HMDB51 at 1 and 5 clips per class)"
        ),
    ] = None,
) -> None:
    """Print what papers report for each method and task, with its source, beside what was measured.

    Works without records. Numbers are never ranked or sorted by score.
    """
    from vddbench.leaderboard.paper_table import TASKS, show
    from vddbench.protocol import protocol_named

    columns = [str(parse_task(task)) for task in tasks or TASKS]
    show(results, "json" if as_json else form, add or (), columns, students.split(","), protocol_named(protocol, epochs))
