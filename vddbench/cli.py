"""The command line. Options select, they don't tune. Exit codes: 0 done, 1 refused, 2 wrong usage, 130 interrupted."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, ParamSpec, TypeVar

import typer

from vddbench.progress import clean, say
from vddbench.protocol import V1
from vddbench.spec import Task

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="The referee for video dataset distillation: prepare, distill or pack, check, evaluate, rank.",
)
P = ParamSpec("P")
R = TypeVar("R")

STUDIES = Path("leaderboard/studies")
Results = Annotated[Path, typer.Option(help="folder of the records")]
Out = Annotated[Path, typer.Option(help="folder of the submissions")]
Force = Annotated[bool, typer.Option("--force", help="do it again although it is there")]
Seeds = Annotated[int, typer.Option(min=1, max=1000, help="seeds 0..N-1")]
Students = Annotated[str, typer.Option(help="comma-separated")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda or cuda:N (default: the GPU if there is one)")]
Roots = Annotated[list[Path], typer.Option(help="folder of records; may be repeated")]
OnlyTask = Annotated[str | None, typer.Option(help="only this task")]
OnlyStudent = Annotated[str | None, typer.Option(help="only this student")]
TaskName = Annotated[str, typer.Option("--task", help="DATASET-ipc1, -ipc5, -ipc10 or DATASET-full")]


def friendly(command: Callable[P, R]) -> Callable[P, R]:
    """A user's mistake ends in one message and an exit code, not in a traceback."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except KeyboardInterrupt:
            say("\ninterrupted; nothing is half-written: run the same command again to go on")
            raise typer.Exit(130) from None
        except LookupError as error:
            if isinstance(error, KeyError | IndexError):  # ours
                raise
            say(f"error: {error}", style="red")
            raise typer.Exit(2) from None
        except (ValueError, OSError) as error:  # OSError: the disk is full, a folder is not writable, a file is missing
            say(f"error: {error}", style="red")
            raise typer.Exit(1) from None

    return wrapped


def parse_task(text: str) -> Task:
    try:
        return Task.parse(text)
    except ValueError as error:
        raise LookupError(str(error)) from None


def parse_stride(text: str | None) -> int | Literal["even"] | None:
    if text is None:
        return None
    if text == "even":
        return "even"
    if not text.isdecimal():
        raise LookupError(f"--stride {text[:40]!r}: a number of frames, or even (T frames spread over each video)")
    return int(text)


@app.command()
@friendly
def prepare(
    name: Annotated[
        str, typer.Argument(help="a built-in dataset (see `vddbench datasets`), or a name of your own with --folder")
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
    frames: Annotated[int | None, typer.Option(help="T of a clip, with --folder (default 16)")] = None,
    size: Annotated[int | None, typer.Option(help="H = W in pixels, with --folder (default 112)")] = None,
    stride: Annotated[str | None, typer.Option(help="frames between stored frames, or even, with --folder (default 4)")] = None,
    classes: Annotated[str | None, typer.Option(help="comma-separated subset, with --folder")] = None,
    student_steps: Annotated[int | None, typer.Option(help="a shorter recipe, with --folder")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="decoding processes (default: all cores)")] = None,
    force: Force = False,
) -> None:
    """Decode a dataset into a frame store under $VDDBENCH_HOME (default ~/.cache/vddbench)."""
    from vddbench.prepare import prepare_named

    prepare_named(
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


datasets = typer.Typer(invoke_without_command=True, help="What datasets there are, and what has become of them here.")
app.add_typer(datasets, name="datasets")


@datasets.callback()
@friendly
def list_datasets(
    context: typer.Context, form: Annotated[str, typer.Option("--format", help="table, or json with all digits")] = "table"
) -> None:
    """Print a table: what exists, what is prepared, where, its size on the disk, counts and digest."""
    if context.invoked_subcommand is not None:
        return
    from vddbench.inventory import as_dicts, as_table, inventory

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
    from vddbench.against import against
    from vddbench.inventory import verify

    store = verify(name)
    if other is not None:
        typer.echo(clean(against(store, other)))


@datasets.command("show")
@friendly
def show_dataset(
    name: Annotated[str, typer.Argument(help="a prepared dataset")],
    out: Annotated[Path | None, typer.Option(help="the PNG to write (default NAME.png)")] = None,
) -> None:
    """Write a contact sheet: one training clip a class, four of its frames."""
    from vddbench.contact import contact_sheet
    from vddbench.store import open_train

    path = out or Path(f"{name}.png")
    contact_sheet(open_train(name), path)
    typer.echo(clean(f"wrote {path}"))


@app.command()
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
    from vddbench.distill import distill as run
    from vddbench.train import named_device

    chosen = named_device(device) if device else None
    run(method, parse_task(task), seed, out, force, device=chosen, preset=preset, watch_every=watch_val)


@app.command()
@friendly
def check(path: Annotated[Path, typer.Argument(help="submissions/TASK/METHOD")]) -> None:
    """Say what a submission holds and costs, and whether it would be accepted (exit 0) or why not (exit 1)."""
    from rich.console import Console

    from vddbench.check import check as run
    from vddbench.check import render

    report = run(path)
    render(report, Console())
    raise typer.Exit(0 if report.accepted else 1)


@app.command()
@friendly
def evaluate(
    paths: Annotated[list[Path], typer.Argument(help="submissions/TASK/METHOD, one or more")],
    students: Students = "convnet3d",
    seeds: Seeds = V1.default_seeds,
    results: Results = Path("results"),
    force: Force = False,
    cluster: Annotated[
        str | None, typer.Option(help="slurm, or local for all GPUs here: plans a run, submits it, follows it, ranks")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--run", help="with --cluster: folder of the run (default runs/ and the time)")
    ] = None,
) -> None:
    """Train students on submissions and record their scores. Recorded seeds are skipped, so a call can be repeated."""
    if cluster is not None:
        from vddbench.batch.commands import cluster_named
        from vddbench.batch.follow import evaluate as evaluate_there

        if force:
            raise LookupError("--force and --cluster: a run makes what is not recorded yet; leave one of them out")
        evaluate_there(paths, students.split(","), range(seeds), results, cluster_named(cluster), out)
        return
    from vddbench.evaluate import evaluate as run

    run(paths, students=students.split(","), seeds=range(seeds), results=results, force=force)


@app.command()
@friendly
def rank(
    results: Roots = [Path("results")],  # noqa: B006 - typer reads it
    task: OnlyTask = None,
    student: OnlyStudent = None,
    form: Annotated[str, typer.Option("--format", help="table, md, csv, json, latex or parquet")] = "table",
    track: Annotated[str | None, typer.Option(help="hard or soft labels")] = None,
    reported: Annotated[bool, typer.Option("--reported", help="below, what papers report: never ranked")] = False,
) -> None:
    """Print the ranked tables of all records."""
    from leaderboard.tables import show

    if track not in {None, "hard", "soft"}:
        raise LookupError(f"--track {str(track)[:40]!r}: hard or soft")
    show(results, task, student, form, track, reported)


@app.command()
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
    from vddbench.pack import pack as run

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


@app.command()
@friendly
def diff(
    first: str,
    second: str,
    task: OnlyTask = None,
    student: OnlyStudent = None,
    results: Roots = [Path("results")],  # noqa: B006 - typer reads it
    submissions: Annotated[Path, typer.Option(help="folder of the submissions, for what their manifests say")] = Path(
        "submissions"
    ),
) -> None:
    """Is method FIRST better than SECOND? The paired difference of their top-1, with its 95 % interval, by class, and what else
    differs: bytes, clips, config, environment."""
    from leaderboard.differences import show

    show(results, submissions, first, second, task, student)


@app.command()
@friendly
def power(
    delta: Annotated[float, typer.Option(min=0.01, max=100, help="points of top-1 that two methods differ by")] = 1.0,
    task: OnlyTask = None,
    student: OnlyStudent = None,
    results: Roots = [Path("results")],  # noqa: B006 - typer reads it
) -> None:
    """How many students of each would tell two methods apart that differ by --delta points?"""
    from leaderboard.power import show

    show(results, delta, task, student)


@app.command()
@friendly
def schema() -> None:
    """Print the JSON Schema of manifest.json."""
    from vddbench.spec import Manifest

    typer.echo(json.dumps(Manifest.model_json_schema(), indent=1))


@app.command()
@friendly
def demo(results: Results = Path("results")) -> None:
    """The whole road on embedded data: prepare movingshapes, evaluate the bundled submissions, print the ranked table."""
    from vddbench.demo import run

    run(results)


@app.command()
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
        from vddbench.bench.preparing import run as run_prepare

        run_prepare(keep)
        return
    if distillers:
        from vddbench.bench.distillers import run as run_distillers

        run_distillers()
        return
    from vddbench.bench.students import run

    run(students.split(","), batch)


study = typer.Typer(no_args_is_help=True, help="Studies behind the protocol's choices; results go to leaderboard/studies.")
app.add_typer(study, name="study")


@study.command("precision")
@friendly
def study_precision(path: Path, student: str = "convnet3d", seeds: Seeds = 10, out: Path = STUDIES) -> None:
    """The same seeds in fp32 and bf16: does autocast shift the score?"""
    from vddbench.study import precision

    precision(path, student, range(seeds), out)


@study.command("lr")
@friendly
def study_lr(
    student: str,
    task: TaskName,
    rates: Annotated[str, typer.Option(help="comma-separated")] = "0.001,0.003,0.01,0.03,0.1",
    seeds: Seeds = 3,
    out: Path = STUDIES,
) -> None:
    """Validation top-1 of a student at several learning rates, on random clips."""
    from vddbench.study import lr

    try:
        numbers = [float(rate) for rate in rates.split(",")]
    except ValueError:
        raise LookupError(f"--rates {rates[:80]!r}: numbers with commas between, e.g. 0.001,0.01,0.1") from None
    lr(student, parse_task(task), numbers, range(seeds), out)


@study.command("settings")
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
    from vddbench.train import best_device, named_device
    from vddbench.tuning import settings

    place = named_device(device) if device else best_device()
    settings(method, parse_task(task), preset, tries, range(seeds), distill_seed, place, out)


def main() -> None:
    from vddbench import hub_commands
    from vddbench.batch.commands import batch, doctor
    from vddbench.publish_commands import publish
    from vddbench.site_commands import site

    app.add_typer(batch, name="batch")
    app.add_typer(site, name="site")
    app.command()(doctor)
    for command in (publish, hub_commands.submit, hub_commands.verify, hub_commands.pull, hub_commands.reproduce):
        app.command()(command)
    app()
