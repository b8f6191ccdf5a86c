"""`vddbench prepare` and `vddbench datasets ...`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from vddbench.commands.options import (
    Force,
    friendly,
)
from vddbench.system.progress import clean

datasets = typer.Typer(invoke_without_command=True, help="What datasets there are, and what has become of them here.")


@friendly
def prepare(
    name: Annotated[
        str, typer.Argument(help="a built-in dataset (see `vddbench datasets`), or a name of your own with --folder or --hub")
    ],
    raw: Annotated[Path | None, typer.Option(help="the distributor's files, e.g. the folder holding UCF-101/")] = None,
    folder: Annotated[Path | None, typer.Option(help="your own videos: DIR/{train,test}/<class>/<clip>")] = None,
    frames_dir: Annotated[
        Path | None, typer.Option(help="extracted frames: DIR/<video>/frame000001.jpg; --raw then only has the lists")
    ] = None,
    hub: Annotated[
        str | None,
        typer.Option(help="a Hub dataset repo with the videos, OWNER/REPO or OWNER/REPO@revision; --raw then only has lists"),
    ] = None,
    frames: Annotated[int | None, typer.Option(help="T of a clip, of your own dataset (default 16)")] = None,
    size: Annotated[int | None, typer.Option(help="H = W in pixels, of your own dataset (default 112)")] = None,
    stride: Annotated[
        str | None, typer.Option(help="frames between stored frames, or even, of your own dataset (default 4)")
    ] = None,
    classes: Annotated[str | None, typer.Option(help="comma-separated subset, of your own dataset")] = None,
    student_steps: Annotated[int | None, typer.Option(help="a shorter recipe, of your own dataset")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="decoding processes (default: all cores)")] = None,
    force: Force = False,
) -> None:
    """Decode a dataset into a frame store under $VDDBENCH_HOME (default ~/.cache/vddbench)."""
    from vddbench.data.prepare import prepare

    prepare(
        name,
        raw=raw,
        folder=folder,
        frames_dir=frames_dir,
        hub=hub,
        frames=frames,
        size=size,
        stride=parse_stride(stride),
        classes=classes.split(",") if classes else None,
        student_steps=student_steps,
        workers=workers,
        force=force,
    )


def parse_stride(text: str | None) -> int | Literal["even"] | None:
    if text is None:
        return None
    if text == "even":
        return "even"
    if not text.isdecimal():
        raise LookupError(f"--stride {text[:40]!r}: a number of frames, or even (T frames spread over each video)")
    return int(text)


@datasets.callback()
@friendly
def list_datasets(
    context: typer.Context, form: Annotated[str, typer.Option("--format", help="table, or json with all digits")] = "table"
) -> None:
    """Print a table: what exists, what is prepared, where, its size on the disk, counts and digest."""
    if context.invoked_subcommand is not None:
        return
    from vddbench.data.inventory import as_dicts, as_table, inventory

    if form not in {"table", "json"}:
        raise LookupError(f"--format {form[:40]!r}: table or json")
    entries = inventory()
    typer.echo(json.dumps(as_dicts(entries), indent=1) if form == "json" else as_table(entries))


@datasets.command("verify")
@friendly
def verify_dataset(
    name: Annotated[str, typer.Argument(help="a prepared dataset")],
    other: Annotated[
        Path | None, typer.Option("--against", help="a record, a manifest or another lab's done.json: is it of the same data?")
    ] = None,
) -> None:
    """Read all of a prepared dataset and check it: every frame against its hash, spec, index, counts, fingerprint."""
    from vddbench.data.fingerprint import against
    from vddbench.data.inventory import verify

    store = verify(name)
    if other is not None:
        typer.echo(clean(against(name, store.id, other)))


@datasets.command("show")
@friendly
def show_dataset(
    name: Annotated[str, typer.Argument(help="a prepared dataset")],
    out: Annotated[Path | None, typer.Option(help="the PNG to write (default NAME.png)")] = None,
) -> None:
    """Write a contact sheet: one training clip a class, four of its frames."""
    from vddbench.data.contact_sheet import contact_sheet
    from vddbench.data.store import open_train

    path = out or Path(f"{name}.png")
    contact_sheet(open_train(name), path)
    typer.echo(clean(f"wrote {path}"))
