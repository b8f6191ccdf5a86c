"""`vddbench site ...`."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from vddbench.commands.options import Command, Roots, friendly

site = typer.Typer(no_args_is_help=True, help="The board as static web pages.")
Submissions = Annotated[
    list[Path],
    typer.Option(
        metavar="FOLDER", help="folder of submissions, for descriptions and previews of distilled sets; may be repeated"
    ),
]


@site.command(cls=Command)
@friendly
def build(
    out: Annotated[Path, typer.Option(help="folder to write to; only files of earlier builds are replaced or removed")],
    results: Roots = [Path("results")],  # noqa: B006 - typer reads it
    submissions: Submissions = [Path("submissions")],  # noqa: B006 - typer reads it
    maintainer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TEXT",
            help="user name whose re-runs verify entries, besides those in MAINTAINERS next to --results; may be repeated",
        ),
    ] = None,
    keep: Annotated[
        bool,
        typer.Option("--keep", help="also write descriptions and previews beside the records, for builds on other machines"),
    ] = False,
    show: Annotated[bool, typer.Option("--open", help="open the board in the browser")] = False,
) -> None:
    """Write the board as web pages: ranked tables, a page for each distilled set, the protocol, how to submit.

    Neither this command nor the pages need a network; the pages open from disk.
    """
    from vddbench.leaderboard.site.build import build as run

    index = run(results, submissions, out, maintainer or (), keep)
    typer.echo(f"wrote {index}")
    if show:
        webbrowser.open(index.resolve().as_uri())


@site.callback()
def _group() -> None:
    """Keeps `build` a command of its own while it is the only one."""
