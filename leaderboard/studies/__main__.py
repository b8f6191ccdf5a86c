"""How fast this machine is, and the studies behind the protocol's choices: `python leaderboard/studies COMMAND`, in a clone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vddbench.spec import Task

STUDIES = Path("leaderboard/studies")

TaskName = Annotated[Task, typer.Option("--task", parser=Task.parse, help="DATASET-ipc1, -ipc5, -ipc10 or DATASET-full")]
Seeds = Annotated[int, typer.Option(min=1, max=1000, help="students are trained with seeds 0..N-1")]
Out = Annotated[Path, typer.Option(help="folder of the CSV")]

studies = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False, help=__doc__)


@studies.command()
def bench(
    students: Annotated[str, typer.Option(help="comma-separated")] = "convnet3d,convnet_gru,r2plus1d_18",
    batch: Annotated[int, typer.Option(min=1, help="clips per step")] = 8,
    distillers: Annotated[bool, typer.Option("--distillers", help="time the matching baselines instead")] = False,
    layers: Annotated[
        bool, typer.Option("--layers", help="compare the convolutions of convnet3d with products of matrices, on the CPU")
    ] = False,
    costs: Annotated[
        bool, typer.Option("--costs", help="count operations and memory of a step of each student, without timing")
    ] = False,
    released: Annotated[
        bool, typer.Option("--released", help="compare with the training and testing loops of the field's released code")
    ] = False,
    gpu: Annotated[
        bool, typer.Option("--gpu", help="measure training, testing and two baselines on this machine's GPU instead")
    ] = False,
    rehearse: Annotated[bool, typer.Option("--rehearse", help="with --gpu: run the same code at toy sizes on the CPU")] = False,
    preparing: Annotated[bool, typer.Option("--prepare", help="time prepare and reads of its stores instead")] = False,
    keep: Annotated[Path | None, typer.Option(help="with --prepare: keep its generated videos here for another run")] = None,
) -> None:
    """Clips/s of training and testing on this machine, against the bare network, and what a MiniUCF evaluation would take.

    With --distillers: iterations/s of the matching baselines, against a straightforward version of the same steps. With
    --layers: what better kernels could gain on a CPU. With --costs: operations and memory of a step of each student. With
    --released: training and testing against the field's released loops. With --gpu: CPU against GPU, training, testing, one
    student and two baselines in under 6 minutes. With --prepare: frames/s of prepare against the ffmpeg command, reads of
    clips, memory, and how long the real datasets will take.
    """
    if distillers + preparing + gpu + layers + released + costs > 1:
        raise typer.BadParameter(
            "--distillers, --layers, --costs, --released, --gpu and --prepare are several benchmarks: give one of them"
        )
    if rehearse and not gpu:
        raise typer.BadParameter("--rehearse needs --gpu")
    if keep is not None and not preparing:
        raise typer.BadParameter("--keep needs --prepare")
    if preparing:
        from vddbench.leaderboard.studies.bench.preparing import run as run_prepare

        run_prepare(keep)
    elif gpu:
        from vddbench.leaderboard.studies.bench.gpu import run as run_gpu

        run_gpu(rehearse)
    elif distillers:
        from vddbench.leaderboard.studies.bench.distillers import run as run_distillers

        run_distillers()
    elif costs:
        from vddbench.leaderboard.studies.bench.costs import run as run_costs

        run_costs(students.split(","))
    elif released:
        from vddbench.leaderboard.studies.bench.released import run as run_released

        run_released(batch)
    elif layers:
        from vddbench.leaderboard.studies.bench.layers import run as run_layers

        run_layers(batch)
    else:
        from vddbench.leaderboard.studies.bench.students import run as run_students

        run_students(students.split(","), batch)


@studies.command("precision")
def study_precision(path: Path, student: str = "convnet3d", seeds: Seeds = 10, out: Out = STUDIES) -> None:
    """Train a student on a submission with the same seeds in fp32 and bf16: does bf16 shift its test top-1?"""
    from vddbench.leaderboard.studies.protocol_studies import precision

    precision(path, student, range(seeds), out)


@studies.command("test-precision")
def study_test_precision(
    paths: Annotated[list[Path], typer.Argument(metavar="SUBMISSION", help="submissions/TASK/METHOD, one or more")],
    student: str = "convnet3d",
    seeds: Seeds = 3,
    results: Annotated[Path, typer.Option(help="folder of records, with which answers are compared")] = Path(
        "leaderboard/results"
    ),
    out: Out = STUDIES,
) -> None:
    """Test the same trained students in fp32 and in bf16: how many top-1 answers differ?"""
    from vddbench.leaderboard.studies.testing_precision import testing_precision

    testing_precision(paths, student, range(seeds), results, out)


@studies.command("lr")
def study_lr(
    student: str,
    task: TaskName,
    rates: Annotated[str, typer.Option(help="comma-separated")] = "0.001,0.003,0.01,0.03,0.1",
    steps: Annotated[
        list[int] | None, typer.Option(min=1, metavar="NUMBER", help="training steps; may be repeated (default: the task's)")
    ] = None,
    clips_of: Annotated[
        Task | None, typer.Option(parser=Task.parse, help="a task whose clips per class are drawn in place of --task's")
    ] = None,
    seeds: Seeds = 3,
    out: Out = STUDIES,
) -> None:
    """Validation top-1 of a student at several learning rates and numbers of steps, on random clips."""
    from vddbench.leaderboard.studies.protocol_studies import lr

    try:
        numbers = [float(rate) for rate in rates.split(",")]
    except ValueError:
        raise typer.BadParameter(f"--rates {rates[:80]!r}: numbers with commas between, e.g. 0.001,0.01,0.1") from None
    lr(student, task, numbers, range(seeds), out, steps or (), clips_of)


@studies.command("fit")
def study_fit(
    datasets: Annotated[str, typer.Argument(help="prepared datasets with commas between; `alike` is generated")],
    per_class: Annotated[str, typer.Option(help="real clips of each class, comma-separated")] = "1,5,16",
    variants: Annotated[str, typer.Option(help="variants of the protocol, comma-separated; fit.py lists them")] = "v1,v2",
    steps: Annotated[int | None, typer.Option(min=1, help="training steps (default: those of the dataset at IPC 1)")] = None,
    seeds: Seeds = 3,
    out: Out = STUDIES,
) -> None:
    """Do students fit the sets that they are trained on? On real clips, under variants of the protocol."""
    from vddbench.leaderboard.studies.fit import fit

    fit(datasets.split(","), [int(count) for count in per_class.split(",")], variants.split(","), steps, range(seeds), out)


@studies.command("settings")
def study_settings(
    method: str,
    task: TaskName,
    tries: Annotated[
        list[str], typer.Option("--try", metavar="SETTINGS", help="e.g. lr=0.1,iterations=300; may be repeated")
    ] = [""],  # noqa: B006 - typer reads it
    preset: Annotated[str | None, typer.Option(help="the settings that --try changes")] = None,
    seeds: Seeds = 3,
    distill_seed: Annotated[int, typer.Option(min=0)] = 0,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or cuda:N (default: the GPU if there is one)")] = None,
    out: Out = STUDIES,
) -> None:
    """Validation top-1 of a baseline at several settings, on videos that distilling did not see."""
    from vddbench.leaderboard.studies.settings import settings
    from vddbench.system.device import best_device, named_device

    settings(method, task, preset, tries, range(seeds), distill_seed, named_device(device) if device else best_device(), out)


@studies.command("curve")
def study_curve(
    method: str,
    task: TaskName,
    every: Annotated[int, typer.Option(min=1, help="iterations between two scores")],
    changes: Annotated[str, typer.Option("--try", metavar="SETTINGS", help="e.g. lr=0.1,iterations=300")] = "",
    preset: Annotated[str | None, typer.Option(help="the settings that --try changes")] = None,
    seeds: Seeds = 1,
    distill_seed: Annotated[int, typer.Option(min=0)] = 0,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or cuda:N (default: the GPU if there is one)")] = None,
    out: Out = STUDIES,
) -> None:
    """Loss and validation top-1 of a baseline over the iterations of one run: do more iterations help?"""
    from vddbench.leaderboard.studies.settings import curve
    from vddbench.system.device import best_device, named_device

    on = named_device(device) if device else best_device()
    curve(method, task, preset, changes, every, range(seeds), distill_seed, on, out)


@studies.command("sdd")
def study_sdd(
    paths: Annotated[list[Path], typer.Argument(metavar="SUBMISSION", help="submissions/TASK/METHOD, one or more")],
    epochs: Annotated[int, typer.Option(min=1, max=10_000, help="passes over the set; 500 as released")] = 500,
    seeds: Seeds = 5,
    together: Annotated[
        list[str] | None, typer.Option(metavar="FAULTS", help="faults to mend together, e.g. lr+scale; may be repeated")
    ] = None,
    out: Out = STUDIES,
) -> None:
    """Replay the field's released protocol with one fault mended at a time: how far does each fault move a score?"""
    from vddbench.leaderboard.studies.sdd import study

    study(paths, epochs, range(seeds), together or [], out)


@studies.command("leaks")
def study_leaks(
    datasets: Annotated[list[str], typer.Argument(metavar="DATASET", help="prepared datasets")],
    sets: Annotated[int, typer.Option(min=1, help="honest sets of each dataset and disguise; half as many leaks")] = 20,
    method: Annotated[
        list[Path] | None, typer.Option(metavar="SUBMISSION", help="folder of an honest submission; may be repeated")
    ] = None,
    seconds: Annotated[bool, typer.Option("--seconds", help="only measure the time, on the first dataset")] = False,
    out: Out = STUDIES,
) -> None:
    """False alarms of the leak scanner on honest sets, and its detection of test videos by disguise."""
    from vddbench.leaderboard.studies.leaks import calibrate, cost

    if seconds:
        cost(datasets[0])
    else:
        calibrate(datasets, sets, method or [], out)


@studies.command("coverage")
def study_coverage(
    repetitions: Annotated[int, typer.Option(min=1)] = 400,
    only: Annotated[str, typer.Option(help="only the worlds whose name contains this")] = "",
    out: Out = STUDIES,
) -> None:
    """Simulate worlds with a known truth: how often do intervals, tie groups and `power` keep what they promise?"""
    from vddbench.leaderboard.studies.coverage import coverage

    print(coverage(repetitions, out, only).to_string(index=False))


def main() -> None:
    """Runs a command. A user's mistake ends in a message without a traceback: exit code 2, or 1 if the fault is in the data."""
    from vddbench.system.allocator import keep_freed_memory
    from vddbench.system.progress import say

    keep_freed_memory()  # as evaluate and distill do
    try:
        studies()
    except (LookupError, ValueError, OSError) as error:
        if isinstance(error, KeyError | IndexError):  # an error in this project
            raise
        say(f"error: {error}", style="red")
        raise SystemExit(2 if isinstance(error, LookupError) else 1) from None


if __name__ == "__main__":
    main()
