"""Options that several commands have, and how a command ends when a user errs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, ParamSpec, TypeVar

import typer

from vddbench.spec import Task
from vddbench.system.progress import say

P = ParamSpec("P")
R = TypeVar("R")

Results = Annotated[Path, typer.Option(help="folder of the records")]
Out = Annotated[Path, typer.Option(help="folder of the submissions")]
Force = Annotated[bool, typer.Option("--force", help="do it again although it is there")]
Seeds = Annotated[int, typer.Option(min=1, max=1000, help="seeds 0..N-1")]
Students = Annotated[str, typer.Option(help="comma-separated")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda or cuda:N (default: the GPU if there is one)")]
Roots = Annotated[list[Path], typer.Option(help="folder of records; may be repeated")]
OnlyTask = Annotated[str | None, typer.Option(help="only this task")]
OnlyStudent = Annotated[str | None, typer.Option(help="only this student")]
TaskName = Annotated[str, typer.Option("--task", help="DATASET-ipc1, -ipc5, -ipc10 or DATASET-full")]


def friendly(command: Callable[P, R]) -> Callable[P, R]:
    """A user's mistake ends in one message and an exit code, not in a traceback."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except KeyboardInterrupt:
            say("\ninterrupted; nothing is half-written: run the same command again to go on")
            raise typer.Exit(130) from None
        except LookupError as error:
            if isinstance(error, KeyError | IndexError):  # ours
                raise
            say(f"error: {error}", style="red")
            raise typer.Exit(2) from None
        except (ValueError, OSError) as error:  # OSError: the disk is full, a folder is not writable, a file is missing
            say(f"error: {error}", style="red")
            raise typer.Exit(1) from None

    return wrapped


def parse_task(text: str) -> Task:
    try:
        return Task.parse(text)
    except ValueError as error:
        raise LookupError(str(error)) from None
