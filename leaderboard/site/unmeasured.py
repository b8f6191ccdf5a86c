"""Tasks without records: their facts, what papers report for them, and the commands that would fill their tables."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from vddbench import lookup
from vddbench.leaderboard import reported
from vddbench.leaderboard.evidence import Evaluated
from vddbench.leaderboard.site import instructions
from vddbench.leaderboard.site.sections import TaskSection, about, paper_rows
from vddbench.protocol import PROTOCOL
from vddbench.spec import IPCS, DatasetSpec, Task


def sections_without_records(measured: Collection[str], replayed: Sequence[Evaluated]) -> list[TaskSection]:
    """A section for each budgeted task of a bundled dataset, and for each task of papers, that is not in `measured`.

    replayed: records of protocol sdd, which are not ranked.
    """
    bundled = lookup.names("dataset")
    tasks = {Task(dataset=dataset, ipc=ipc) for dataset in bundled for ipc in IPCS} | set(map(Task.parse, reported.tasks()))
    return [
        section_without_records(task, lookup.load("dataset", task.dataset).SPEC if task.dataset in bundled else None, replayed)
        for task in sorted(tasks)
        if str(task) not in measured
    ]


def section_without_records(task: Task, spec: DatasetSpec | None, replayed: Sequence[Evaluated]) -> TaskSection:
    facts = () if spec is None else facts_of(task, spec)
    return TaskSection(task, about(task), (), (), facts, {}, paper_rows(task, (), replayed), commands(task, spec))


def facts_of(task: Task, spec: DatasetSpec) -> tuple[tuple[str, str], ...]:
    """What entries of a budgeted task would share."""
    counts = spec.num_videos or {}
    videos = [(f"{part} videos", f"{counts[part]:,}") for part in ("train", "test") if part in counts]
    return (
        ("classes", f"{spec.num_classes}"),
        *videos,
        ("clips", f"{spec.frames} frames of {spec.size} × {spec.size} pixels"),
        ("accuracy of guessing", f"{100 / spec.num_classes:.1f} %"),
        ("budget", f"{task.budget_bytes(spec):,} bytes"),
        ("training steps", f"{task.student_steps(spec):,}"),
        ("protocol", PROTOCOL.name),
    )


def commands(task: Task, spec: DatasetSpec | None) -> str:
    """Command lines that make the first entry of a task: `random`, from which gain is measured."""
    folder = f"submissions/{task}/random"
    lines = [
        instructions.prepare(task.dataset, spec),
        f"vddbench distill random --task {task}",
        f"vddbench evaluate {folder} --seeds {PROTOCOL.default_seeds}",
        f"vddbench rank --task {task}",
    ]
    return "\n".join(lines)
