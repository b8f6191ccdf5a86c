"""`vddbench distill`, `pack`, `check` and `schema`: commands that make and check submissions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from vddbench.commands.options import (
    Device,
    Force,
    Json,
    Out,
    TaskName,
    friendly,
    parse_task,
)
from vddbench.system.progress import clean, say


@friendly
def distill(
    method: Annotated[str, typer.Argument(help="a baseline; vddbench methods lists them")],
    task: TaskName,
    seed: Annotated[
        int, typer.Option(min=0, max=2**31 - 1, help="seed of the distillation; N > 0 is written to METHOD-sN")
    ] = 0,
    preset: Annotated[
        str | None, typer.Option(help="named settings instead of the published ones, e.g. fast: minutes on 2 cores")
    ] = None,
    watch_val: Annotated[
        int | None,
        typer.Option(
            min=1, help="exclude the validation videos, score on them every N iterations, write the set of the best iteration"
        ),
    ] = None,
    device: Device = None,
    out: Out = Path("submissions"),
    force: Force = False,
) -> None:
    """Run a bundled baseline and write its submission. An interrupted iterative baseline resumes where it stopped."""
    from vddbench.distillation.run import distill as run
    from vddbench.leaderboard.methods_text import check_has_baseline
    from vddbench.system.device import named_device

    check_has_baseline(method)
    chosen = named_device(device) if device else None
    path = run(method, parse_task(task), seed, out, force, device=chosen, preset=preset, watch_every=watch_val)
    say(f"next: vddbench evaluate {path}")


@friendly
def pack(
    source: Annotated[
        Path, typer.Argument(help=".pt, .pth, .npy, .npz or .safetensors file of your research code, or folder of clips")
    ],
    task: TaskName,
    method: Annotated[str, typer.Option(help="name of your method: lower-case letters, digits, _")],
    labels: Annotated[Path | None, typer.Option(help="file of labels, if they are not in the source")] = None,
    layout: Annotated[str | None, typer.Option(help="order of the dimensions, e.g. NCTHW (default: detected)")] = None,
    value_range: Annotated[
        str | None, typer.Option("--range", help="0-255, 0-1, -1-1, imagenet or MEAN,MEAN,MEAN/STD,STD,STD (default: detected)")
    ] = None,
    decoder: Annotated[
        str | None, typer.Option(help="pixels, still for one frame per clip, or static_dynamic (default: detected)")
    ] = None,
    dtype: Annotated[str, typer.Option(help="dtype of the stored pixels: uint8, float16 or float32")] = "uint8",
    resize: Annotated[bool, typer.Option("--resize", help="scale frames of another size, which are refused otherwise")] = False,
    drop_last_frame: Annotated[
        bool, typer.Option("--drop-last-frame", help="store all frames of a clip but the last, to make room for soft labels")
    ] = False,
    clips_key: Annotated[str | None, typer.Option(help="name of the clips in a file of several tensors")] = None,
    labels_key: Annotated[str | None, typer.Option(help="name of the labels in a file of several tensors")] = None,
    labels_by_class: Annotated[
        bool, typer.Option("--labels-by-class", help="no labels: the clips are sorted by class, equally many of each")
    ] = False,
    labels_as: Annotated[
        str | None, typer.Option(help="turn rows of scores into labels by argmax, softmax, or centred (kernel methods)")
    ] = None,
    statics: Annotated[Path | None, typer.Option(help="file of the stills, for the decoder static_dynamic")] = None,
    hallucinator: Annotated[Path | None, typer.Option(help="file of the network's weights, for static_dynamic")] = None,
    preview: Annotated[Path | None, typer.Option(help="write a PNG with clips as a student will see them")] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=2**31 - 1, help="seed of the distillation; N > 0 is written to METHOD-sN")
    ] = 0,
    title: Annotated[str | None, typer.Option(help="the method's name in tables, e.g. DM+SDD")] = None,
    author: Annotated[list[str] | None, typer.Option(metavar="TEXT", help="name of an author; may be repeated")] = None,
    paper: Annotated[str, typer.Option(help="link to the paper: https://...")] = "",
    code: Annotated[str, typer.Option(help="link to the code: https://...")] = "",
    external: Annotated[
        str, typer.Option(help="data or models used besides the task's train split, e.g. a pretrained teacher")
    ] = "",
    holdout: Annotated[bool, typer.Option("--holdout", help="the validation videos were not used for distilling")] = False,
    learned_lr: Annotated[
        float | None,
        typer.Option(min=1e-8, max=1, help="learning rate that the method learned for the student; only protocol sdd uses it"),
    ] = None,
    out: Out = Path("submissions"),
    force: Force = False,
) -> None:
    """Turn a file or folder of synthetic clips into a submission; report how layout, values and labels were understood."""
    from vddbench.submissions.conversion import Conversion, Declaration
    from vddbench.submissions.pack import pack as run

    conversion = Conversion(
        labels=labels,
        layout=layout,
        value_range=value_range,
        decoder=decoder,
        dtype=dtype,
        resize=resize,
        drop_last_frame=drop_last_frame,
        clips_key=clips_key,
        labels_key=labels_key,
        labels_by_class=labels_by_class,
        labels_as=labels_as,
        statics=statics,
        hallucinator=hallucinator,
    )
    declaration = Declaration(
        seed=seed,
        title=title,
        authors=tuple(author or ()),
        paper=paper,
        code=code,
        external_data=external,
        holdout=holdout,
        learned_lr=learned_lr,
    )
    path, report = run(
        source,
        parse_task(task),
        method,
        conversion=conversion,
        declaration=declaration,
        out=out,
        force=force,
        preview=preview,
    )
    for line in report:
        typer.echo(clean(line))
    typer.echo(f"wrote {path}; next: vddbench check {path}")


@friendly
def check(
    path: Annotated[Path, typer.Argument(help="folder of a submission, submissions/TASK/METHOD")], as_json: Json = False
) -> None:
    """Report what a submission holds and costs, and every reason for refusal. Exit code 0: accepted, 1: refused."""
    from rich.console import Console

    from vddbench.submissions.check import check as run
    from vddbench.submissions.report import render

    report = run(path)
    if as_json:
        typer.echo(json.dumps(report.to_json(), indent=1))
    else:
        render(report, Console())
        if report.accepted:
            typer.echo(f"next: vddbench evaluate {clean(str(path))}")
    raise typer.Exit(0 if report.accepted else 1)


@friendly
def schema() -> None:
    """Print the JSON Schema of manifest.json."""
    from vddbench.spec import Manifest

    typer.echo(json.dumps(Manifest.model_json_schema(), indent=1))
