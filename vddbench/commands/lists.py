"""`vddbench tasks` and `vddbench students`: what a set can be made for, and the networks that are trained on it."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from vddbench import lookup
from vddbench.commands.options import RANKED_STUDENT, Json, friendly
from vddbench.system.progress import clean


@friendly
def tasks(
    dataset: Annotated[
        str | None, typer.Argument(help="only the tasks of this dataset, and its classes in the order of their labels")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the tasks of all datasets: classes, clip shape, budget in bytes and training steps of a student."""
    from vddbench.data.inventory import inventory, spec_of
    from vddbench.data.store import Store
    from vddbench.spec import IPCS, Task

    states = {entry.name: entry.state for entry in inventory()}
    if dataset is not None and dataset not in states:
        raise LookupError(lookup.unknown("dataset", dataset, list(states)))
    rows, class_names = list[dict[str, Any]](), tuple[str, ...]()
    for name in states if dataset is None else [dataset]:
        try:
            spec = spec_of(name) or Store.open(name).spec
        except (OSError, ValueError):
            if dataset is not None:
                raise
            continue  # an unfinished or damaged store of one's own videos: `vddbench datasets` names the problem
        rows += [
            {
                "task": str(task),
                "classes": spec.num_classes,
                "clip": f"{spec.frames}x{spec.size}x{spec.size}",
                "budget_bytes": task.budget_bytes(spec),
                "student_steps": task.student_steps(spec),
                "data": states[name],
            }
            for task in (Task(dataset=name, ipc=ipc) for ipc in (*IPCS, None))
        ]
        class_names = spec.class_names
    if as_json:
        named = {} if dataset is None else {"class_names": class_names}
        return _print([{**row, **named} for row in rows], as_json)
    _print(rows, as_json)
    typer.echo(
        "\nbudget_bytes: limit for all tensors of a payload together; tasks of the whole train split (-full) have none.\n"
        "student_steps: optimiser steps of one student."
    )
    if dataset is None:
        return typer.echo("Other tasks: prepare your own videos (vddbench prepare NAME --folder DIR).")
    typer.echo()
    _print([{"label": str(label), "class": name} for label, name in enumerate(class_names)], as_json)


@friendly
def students(as_json: Json = False) -> None:
    """List the networks that `evaluate --students` trains, with their role, learning rate and description."""
    rows = []
    for name in lookup.names("student"):
        try:
            file = lookup.source_of("student", name)
            recipe = file.values["RECIPE"] if "RECIPE" in file.values else dict(lookup.load("student", name).RECIPE)
        except ValueError as error:
            lookup.left_out(error)
            continue
        about = file.doc.partition("\n\n")[0]
        rows.append(
            {
                "student": name,
                "role": "ranked, the default" if name == RANKED_STUDENT else "transfer",
                "lr": recipe["lr"],
                "about": " ".join(about.split()),
            }
        )
    _print(rows, as_json)


def _print(rows: list[dict[str, Any]], as_json: bool) -> None:
    """rows: equal keys, which are the headings."""
    from tabulate import tabulate

    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    lines = [[f"{value:,}" if type(value) is int else value for value in row.values()] for row in rows]
    typer.echo(clean(tabulate(lines, list(rows[0]) if rows else [], missingval="-", disable_numparse=True)))
