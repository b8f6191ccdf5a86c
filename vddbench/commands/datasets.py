"""`vddbench prepare` and `vddbench datasets ...`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vddbench.commands.options import RANKED_STUDENT, Command, Force, Json, friendly
from vddbench.system.progress import clean, say

if TYPE_CHECKING:
    from vddbench.spec import DatasetSpec

datasets = typer.Typer(invoke_without_command=True, help="List, verify and show datasets.")


@friendly
def prepare(
    name: Annotated[
        str, typer.Argument(help="a built-in dataset (see `vddbench datasets`), or a new name with --folder or --hub")
    ],
    raw: Annotated[Path | None, typer.Option(help="folder with the distributor's files, e.g. with UCF-101/ in it")] = None,
    folder: Annotated[Path | None, typer.Option(help="your own videos: DIR/{train,test}/<class>/<clip>")] = None,
    frames_dir: Annotated[
        Path | None, typer.Option(help="extracted frames: DIR/<video>/frame000001.jpg; --raw then only needs the lists")
    ] = None,
    hub: Annotated[
        str | None,
        typer.Option(help="a dataset repo on the Hub, OWNER/REPO or OWNER/REPO@revision; --raw then only needs the lists"),
    ] = None,
    frames: Annotated[int | None, typer.Option(help="your own videos: frames per clip (default 16)")] = None,
    size: Annotated[int | None, typer.Option(help="your own videos: height and width in pixels (default 112)")] = None,
    stride: Annotated[
        str | None,
        typer.Option(
            help="your own videos: store every N-th frame, or even: spread a clip's frames over the video (default 4)"
        ),
    ] = None,
    classes: Annotated[str | None, typer.Option(help="your own videos: only these classes, comma-separated")] = None,
    student_steps: Annotated[
        int | None, typer.Option(help="your own videos: training steps of a student at ipc 1 (default 500)")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="decoding processes (default: one per core)")] = None,
    force: Force = False,
) -> None:
    """Decode a dataset into a store of frames under $VDDBENCH_HOME (default ~/.cache/vddbench)."""
    from vddbench import lookup
    from vddbench.data.prepare import prepare

    prepared = prepare(
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
    if name not in lookup.names("dataset"):
        warn_of_unranked_clips(prepared.store.spec)


def parse_stride(text: str | None) -> int | Literal["even"] | None:
    if text is None:
        return None
    if text == "even":
        return "even"
    if not text.isdecimal():
        raise LookupError(f"--stride {text[:40]!r}: allowed are a number of frames, or even (T frames spread over each video)")
    return int(text)


def warn_of_unranked_clips(spec: DatasetSpec) -> None:
    """Prints a warning if the ranked student can't take clips of this shape."""
    from vddbench import lookup

    try:
        lookup.load("student", RANKED_STUDENT).build(spec.clip_shape, spec.num_classes)
    except ValueError as error:
        say(f"warning: these clips can't be ranked: {error}", style="yellow")


@datasets.callback()
@friendly
def list_datasets(context: typer.Context, as_json: Json = False) -> None:
    """Print a table: name, state, size on disk, counts, digest and folder of each dataset."""
    if context.invoked_subcommand is not None:
        return
    from vddbench.data.inventory import as_dicts, as_table, inventory

    entries = inventory()
    typer.echo(json.dumps(as_dicts(entries), indent=1) if as_json else as_table(entries))


@datasets.command("verify", cls=Command)
@friendly
def verify_dataset(
    name: Annotated[str, typer.Argument(help="a prepared dataset")],
    other: Annotated[
        Path | None,
        typer.Option(
            "--against", help="check whether this record, manifest or done.json of another lab's store is of the same data"
        ),
    ] = None,
) -> None:
    """Read all of a prepared dataset; check frames, spec, index, counts and fingerprint; look for test videos in train."""
    from vddbench.data.fingerprint import against
    from vddbench.data.inventory import verify
    from vddbench.data.near_copies import summary

    store = verify(name)
    typer.echo(clean(f"{name}: {summary(store)}"))
    if other is not None:
        typer.echo(clean(against(name, store.id, other)))


@datasets.command("show", cls=Command)
@friendly
def show_dataset(
    name: Annotated[str, typer.Argument(help="a prepared dataset")],
    out: Annotated[Path | None, typer.Option(help="the PNG to write (default NAME.png)")] = None,
) -> None:
    """Write a contact sheet: one training clip per class, four frames each."""
    from vddbench.data.contact_sheet import contact_sheet
    from vddbench.data.store import open_train

    path = out or Path(f"{name}.png")
    contact_sheet(open_train(name), path)
    typer.echo(clean(f"wrote {path}"))
