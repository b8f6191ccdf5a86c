"""`python leaderboard/studies COMMAND`, in a clone: how fast this machine is, and the studies behind the protocol's choices."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vddbench.commands.options import (
    Device,
    Seeds,
    Students,
    TaskName,
    friendly,
    parse_task,
)

STUDIES = Path("leaderboard/studies")

studies = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="How fast this machine is, and the studies behind the protocol's choices. Results go to leaderboard/studies.",
)


@studies.command()
@friendly
def bench(
    students: Students = "convnet3d,convnet_gru,r2plus1d_18",
    batch: Annotated[int, typer.Option(min=1, help="clips a step")] = 8,
    distillers: Annotated[bool, typer.Option("--distillers", help="time the matching baselines instead")] = False,
    preparing: Annotated[bool, typer.Option("--prepare", help="time prepare and reads of its stores instead")] = False,
    keep: Annotated[Path | None, typer.Option(help="with --prepare: keep its generated videos here for another run")] = None,
) -> None:
    """Clips/s of training and testing on this machine, against the bare network, and what a MiniUCF evaluation would take.

    With --distillers: iterations/s of the matching baselines, against the same steps written straight down. With --prepare:
    frames/s of prepare against the ffmpeg command, reads of clips, memory, and how long the real datasets will take.
    """
    if distillers and preparing:
        raise LookupError("--distillers and --prepare are two benchmarks: give one of them")
    if keep is not None and not preparing:
        raise LookupError("--keep is of --prepare")
    if preparing:
        from vddbench.leaderboard.studies.bench.preparing import run as run_prepare

        run_prepare(keep)
        return
    if distillers:
        from vddbench.leaderboard.studies.bench.distillers import run as run_distillers

        run_distillers()
        return
    from vddbench.leaderboard.studies.bench.students import run

    run(students.split(","), batch)


@studies.command("precision")
@friendly
def study_precision(path: Path, student: str = "convnet3d", seeds: Seeds = 10, out: Path = STUDIES) -> None:
    """The same seeds in fp32 and bf16: does autocast shift the score?"""
    from vddbench.leaderboard.studies.protocol_studies import precision

    precision(path, student, range(seeds), out)


@studies.command("lr")
@friendly
def study_lr(
    student: str,
    task: TaskName,
    rates: Annotated[str, typer.Option(help="comma-separated")] = "0.001,0.003,0.01,0.03,0.1",
    seeds: Seeds = 3,
    out: Path = STUDIES,
) -> None:
    """Validation top-1 of a student at several learning rates, on random clips."""
    from vddbench.leaderboard.studies.protocol_studies import lr

    try:
        numbers = [float(rate) for rate in rates.split(",")]
    except ValueError:
        raise LookupError(f"--rates {rates[:80]!r}: numbers with commas between, e.g. 0.001,0.01,0.1") from None
    lr(student, parse_task(task), numbers, range(seeds), out)


@studies.command("settings")
@friendly
def study_settings(
    method: str,
    task: TaskName,
    tries: Annotated[list[str], typer.Option("--try", help="e.g. lr=0.1,iterations=300; may be repeated")] = [""],  # noqa: B006 - typer reads it
    preset: Annotated[str | None, typer.Option(help="the settings that --try changes")] = None,
    seeds: Seeds = 3,
    distill_seed: Annotated[int, typer.Option(min=0)] = 0,
    device: Device = None,
    out: Path = STUDIES,
) -> None:
    """An iterative baseline at several settings, scored on validation videos it did not see."""
    from vddbench.leaderboard.studies.settings import settings
    from vddbench.system.device import best_device, named_device

    place = named_device(device) if device else best_device()
    settings(method, parse_task(task), preset, tries, range(seeds), distill_seed, place, out)


if __name__ == "__main__":
    studies()
