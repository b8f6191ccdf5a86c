"""The command line, built from the files of this room. Options select what to do; they do not tune training.

Exit codes: 0 done, 1 refused, 2 wrong usage, 3 records are missing (`batch collect`), 130 interrupted.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from vddbench import __version__
from vddbench.commands.batch import batch, doctor
from vddbench.commands.datasets import datasets, prepare
from vddbench.commands.exchange import pull, reproduce, submit, verify
from vddbench.commands.export import export
from vddbench.commands.grid import grid
from vddbench.commands.lists import students, tasks
from vddbench.commands.methods import methods
from vddbench.commands.options import Command, friendly
from vddbench.commands.publish import publish
from vddbench.commands.results import demo, diff, evaluate, power, rank
from vddbench.commands.site import site
from vddbench.commands.submissions import check, distill, pack, schema
from vddbench.commands.table import table
from vddbench.lookup import PLUGINS, check_plugins

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help: the boxes show types such as list[Path] where readers need PATH
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="The referee for video dataset distillation: prepare, distill or pack, check, evaluate, rank.",
)
for command in (
    prepare, distill, pack, check, evaluate, rank, table, diff, power, publish, submit, verify, pull, reproduce,
    tasks, methods, grid, students, demo, schema, doctor,
):  # fmt: skip
    app.command(cls=Command)(command)
for name, group in (("datasets", datasets), ("batch", batch), ("site", site), ("export", export)):
    app.add_typer(group, name=name)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
@friendly
def _before_every_command(
    plugins: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER",
            help="folder of your own plugins, FOLDER/{baselines,decoders,students,datasets}/NAME.py; may be repeated. "
            f"The environment variable {PLUGINS} does the same",
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", help="print the version", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    if plugins:  # set in the environment, so worker processes and the cells of a run find the files too
        os.environ[PLUGINS] = os.pathsep.join(str(folder.absolute()) for folder in plugins)
    check_plugins()


def main() -> None:
    """The command `vddbench`. Characters that a terminal does not have are shown by their codes, as in \\xb7.

    If the reader of the output ends early, as `head` does, nothing more is printed.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    finally:
        try:
            sys.stdout.flush()
        except BrokenPipeError:  # Python would print it when it flushes again at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
