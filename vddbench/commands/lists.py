"""`vddbench tasks` and `vddbench students`: what a set can be made for, and the networks that are trained on it."""

from __future__ import annotations

import json
from typing import Any

import typer

from vddbench import lookup
from vddbench.commands.options import RANKED_STUDENT, Json, friendly
from vddbench.system.progress import clean


@friendly
def tasks(as_json: Json = False) -> None:
    """List the tasks of all datasets: classes, clip shape, budget in bytes and training steps of a student."""
    from vddbench.data.inventory import entry_of, inventory
    from vddbench.data.store import Store
    from vddbench.spec import IPCS, Task

    rows = []
    for name in [entry.name for entry in inventory()]:
        state = entry_of(name).state
        try:
            spec = lookup.load("dataset", name).SPEC if name in lookup.names("dataset") else Store.open(name).spec
        except (OSError, ValueError):
            continue  # an unfinished or damaged store of one's own videos: `vddbench datasets` names the problem
        for ipc in (*IPCS, None):
            task = Task(dataset=name, ipc=ipc)
            rows.append(
                {
                    "task": str(task),
                    "classes": spec.num_classes,
                    "clip": f"{spec.frames}x{spec.size}x{spec.size}",
                    "budget_bytes": task.budget_bytes(spec),
                    "student_steps": task.student_steps(spec),
                    "data": state,
                }
            )
    _print(rows, as_json)
    if not as_json:
        typer.echo(
            "\nbudget_bytes: limit for all tensors of a payload together; tasks of the whole train split (-full) have none.\n"
            "student_steps: optimiser steps of one student.\n"
            "Other tasks: prepare your own videos (vddbench prepare NAME --folder DIR)."
        )


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
