"""`vddbench export ...`: results in formats of others."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from vddbench.commands.options import Command, Roots, friendly
from vddbench.system.progress import say

export = typer.Typer(no_args_is_help=True, help="Write results in the formats of other projects.")
MAX_NAME = 200  # letters


@export.command("every-eval-ever", cls=Command)
@friendly
def every_eval_ever(
    organization: Annotated[str, typer.Option(help="who publishes these results, e.g. the name of your lab")],
    out: Annotated[Path, typer.Option(help="folder to write to; its data/ is laid out as the datastore of Every Eval Ever")],
    results: Roots = [Path("results")],  # noqa: B006 - typer reads it
) -> None:
    """Write ranked entries with their intervals as JSON of Every Eval Ever (schema 0.3.0), a file for each entry.

    Repeat the command after new records: it replaces the files of the same entries.
    """
    from vddbench.leaderboard.every_eval_ever import write
    from vddbench.leaderboard.site.board import board_of

    if not organization.strip() or len(organization) > MAX_NAME or not organization.isprintable():
        raise LookupError(f"--organization must be a name of at most {MAX_NAME} printable letters")
    board = board_of(results)
    for line in board.left_out:
        say(f"left out: {line}")
    files = write(board, organization.strip(), out, time.time())
    typer.echo(f"{len(files)} files in {out / 'data'}; entries without a rank are not exported")


@export.callback()
def _group() -> None:
    """Keeps the format a command of its own while it is the only one."""
