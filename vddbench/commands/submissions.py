"""`vddbench distill`, `pack`, `check` and `schema`: sets are made and looked at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from vddbench.commands.options import (
    Device,
    Force,
    Out,
    TaskName,
    friendly,
    parse_task,
)
from vddbench.system.progress import clean


@friendly
def distill(
    method: Annotated[str, typer.Argument(help="a file of baselines/")],
    task: TaskName,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    preset: Annotated[
        str | None, typer.Option(help="settings other than the published ones, e.g. fast: minutes on 2 cores")
    ] = None,
    watch_val: Annotated[
        int | None,
        typer.Option(min=1, help="keep the validation videos out, score on them every N iterations, submit the best"),
    ] = None,
    device: Device = None,
    out: Out = Path("submissions"),
    force: Force = False,
) -> None:
    """Run a bundled baseline; writes a submission. Iterative ones can be interrupted and go on where they stopped."""
    from vddbench.distillation.run import distill as run
    from vddbench.system.device import named_device

    chosen = named_device(device) if device else None
    run(method, parse_task(task), seed, out, force, device=chosen, preset=preset, watch_every=watch_val)


@friendly
def pack(
    source: Annotated[Path, typer.Argument(help=".pt, .npy, .npz or .safetensors of your research code")],
    task: TaskName,
    method: Annotated[str, typer.Option(help="your method's name: lower case, digits, _")],
    labels: Annotated[Path | None, typer.Option(help="file of labels, when not in the source")] = None,
    layout: Annotated[str | None, typer.Option(help="order of dimensions, e.g. NCTHW; detected when not given")] = None,
    value_range: Annotated[str | None, typer.Option("--range", help="0-255, 0-1, -1-1 or imagenet; detected")] = None,
    decoder: Annotated[str | None, typer.Option(help="pixels, or still for one frame a clip; detected")] = None,
    dtype: Annotated[str, typer.Option(help="uint8, float16 or float32")] = "uint8",
    clips_key: Annotated[str | None, typer.Option(help="name of the clips in a file of several tensors")] = None,
    labels_key: Annotated[str | None, typer.Option(help="name of the labels in a file of several tensors")] = None,
    seed: Annotated[int, typer.Option(min=0, help="of the distillation; seed N > 0 goes to METHOD-sN")] = 0,
    author: Annotated[list[str] | None, typer.Option(help="may be repeated")] = None,
    paper: Annotated[str, typer.Option(help="https://...")] = "",
    code: Annotated[str, typer.Option(help="https://...")] = "",
    external: Annotated[str, typer.Option(help="what was used beside the task's train split, e.g. a pretrained teacher")] = "",
    holdout: Annotated[bool, typer.Option("--holdout", help="the validation videos were kept out of distilling")] = False,
    out: Out = Path("submissions"),
    force: Force = False,
) -> None:
    """Turn a tensor of synthetic clips into a submission; says what it took layout and values for."""
    from vddbench.submissions.pack import pack as run

    path, report = run(
        source,
        parse_task(task),
        method,
        labels=labels,
        layout=layout,
        value_range=value_range,
        decoder=decoder,
        dtype=dtype,
        clips_key=clips_key,
        labels_key=labels_key,
        seed=seed,
        authors=author or (),
        paper=paper,
        code=code,
        external_data=external,
        holdout=holdout,
        out=out,
        force=force,
    )
    for line in report:
        typer.echo(clean(line))
    typer.echo(f"wrote {path}; next: vddbench check {path}")


@friendly
def check(path: Annotated[Path, typer.Argument(help="submissions/TASK/METHOD")]) -> None:
    """Say what a submission holds and costs, and whether it would be accepted (exit 0) or why not (exit 1)."""
    from rich.console import Console

    from vddbench.submissions.check import check as run
    from vddbench.submissions.check import render

    report = run(path)
    render(report, Console())
    raise typer.Exit(0 if report.accepted else 1)


@friendly
def schema() -> None:
    """Print the JSON Schema of manifest.json."""
    from vddbench.spec import Manifest

    typer.echo(json.dumps(Manifest.model_json_schema(), indent=1))
