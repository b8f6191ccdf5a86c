"""Options that several commands share, and how a command ends after a user's mistake."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, TypeVar

import typer
from typer.core import TyperCommand

from vddbench.system.progress import say

if TYPE_CHECKING:  # help needs no pydantic
    from vddbench.spec import Task

P = ParamSpec("P")
R = TypeVar("R")

RANKED_STUDENT = "convnet3d"  # the network that commands train and show by default
PROTOCOL_NAME, DEFAULT_SEEDS = "v3", 5  # of vddbench.protocol, which imports pydantic; a test compares them

INSTALL = {  # packages that only some commands need -> what to install
    "torch": "torch",
    "torchvision": "torchvision",
    "altair": "altair vl-convert-python (vddbench's extra site)",
    "vl_convert": "altair vl-convert-python (vddbench's extra site)",
    "submitit": "submitit (vddbench's extra slurm)",
}

Results = Annotated[Path, typer.Option(help="folder of records")]
Out = Annotated[Path, typer.Option(help="folder of submissions")]
Force = Annotated[bool, typer.Option("--force", help="run again even if the result exists")]
Seeds = Annotated[int, typer.Option(min=1, max=1000, help="number of students of each network; their seeds are 0..N-1")]
Students = Annotated[str, typer.Option(help="networks to train, comma-separated; vddbench students lists them")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda or cuda:N (default: the GPU if there is one)")]
Roots = Annotated[list[Path], typer.Option(metavar="FOLDER", help="folder of records; may be repeated")]
OnlyTask = Annotated[str | None, typer.Option(help="only this task")]
OnlyStudent = Annotated[str | None, typer.Option(help="only this network")]
OnlyDivision = Annotated[
    str | None,
    typer.Option(
        "--division",
        help="ipc: sets of at most IPC clips per class; open: sets of any number of clips within the bytes (default: both)",
    ),
]
TaskName = Annotated[str, typer.Option("--task", help="DATASET-ipc1, -ipc5, -ipc10 or DATASET-full; vddbench tasks lists them")]


class Command(TyperCommand):
    """A command whose help shows <path> and <int> where Typer shows <list[Path]> and <int range>."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        write = formatter.write_dl

        def write_plainly(rows: list[tuple[str, str]], *args: Any, **options: Any) -> None:
            plain = [(re.sub(r"<list\[(\w+)\]>|<(\w+) range>", _type_name, first), text) for first, text in rows]
            write(plain, *args, **options)

        formatter.write_dl = write_plainly
        super().format_options(ctx, formatter)


def _type_name(found: re.Match[str]) -> str:
    return f"<{(found[1] or found[2]).lower()}>"


def friendly(command: Callable[P, R]) -> Callable[P, R]:
    """Turns a user's mistake into one message and an exit code; other exceptions keep their traceback."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except KeyboardInterrupt:
            say("\ninterrupted; nothing is half-written: run the same command again to resume")
            raise typer.Exit(130) from None
        except LookupError as error:
            if isinstance(error, KeyError | IndexError):  # a bug of this program
                raise
            say(f"error: {error}", style="red")
            raise typer.Exit(2) from None
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if package not in INSTALL:  # a bug of this program
                raise
            say(
                f"error: {command.__name__} needs {package}, which is not installed: pip install {INSTALL[package]}",
                style="red",
            )
            raise typer.Exit(1) from None
        except BrokenPipeError:  # `vddbench rank | head`: click ends without a message
            raise
        except (RuntimeError, MemoryError) as error:
            ran_out = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"  # torch's, slow to import
            if not ran_out and not re.search("out of memory|DefaultCPUAllocator", str(error)):
                raise
            say(
                f"error: memory ran out: {str(error)[:200]}; end other programs or use a machine or GPU with more memory, then "
                "run the same command again: what it finished is kept",
                style="red",
            )
            raise typer.Exit(1) from None
        except (ValueError, OSError) as error:  # OSError: the disk is full, a folder is not writable, a file is missing
            say(f"error: {error}", style="red")
            raise typer.Exit(1) from None

    return wrapped


Json = Annotated[bool, typer.Option("--json", help="print JSON, with all digits")]


def parse_task(text: str) -> Task:
    from vddbench.spec import Task

    try:
        return Task.parse(text)
    except ValueError as error:
        raise LookupError(str(error)) from None
