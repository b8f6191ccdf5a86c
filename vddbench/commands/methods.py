"""`vddbench methods`: the baselines, and the methods of the field that have none."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vddbench.commands.options import Json, friendly


@friendly
def methods(
    name: Annotated[str | None, typer.Argument(help="a method, or METHOD_PRESET: its settings and all its results")] = None,
    form: Annotated[str, typer.Option("--format", help="table, md or json")] = "table",
    as_json: Json = False,
    task: Annotated[str | None, typer.Option(help="task of the column with our results (default: the one with most)")] = None,
    results: Annotated[
        list[Path] | None,
        typer.Option(metavar="FOLDER", help="folder of records; may be repeated (default: the records of the package)"),
    ] = None,
) -> None:
    """List all baselines with published results and ours, and the methods of the field without a baseline, with the reason."""
    from vddbench.leaderboard import methods as listing
    from vddbench.leaderboard import methods_text as shown
    from vddbench.leaderboard.evidence import BUNDLED, load, load_valid

    form = "json" if as_json else form
    if form not in shown.FORMS:
        raise LookupError(f"format {form[:40]!r} is unknown; allowed: {', '.join(shown.FORMS)}")
    evaluated = load_valid(results) if results else load([BUNDLED]).evaluated
    scores = listing.measured(evaluated)
    if name is not None:
        typer.echo(shown.as_text(name, scores))
    elif form == "json":
        typer.echo(shown.as_json(listing.methods(), scores))
    else:
        typer.echo(shown.as_table(listing.methods(), scores, task, shown.FORMS[form]))
