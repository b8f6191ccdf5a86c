"""How long cells should take on this machine: speeds of students and methods, measured in minutes for `--measure`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from vddbench import lookup
from vddbench.cluster.durations import Duration, Durations, Work, work_of
from vddbench.cluster.plan import Cell
from vddbench.data.pinned import pinned
from vddbench.protocol import PROTOCOL, Protocol, Sdd, protocol_named
from vddbench.spec import DatasetSpec, Task
from vddbench.system.progress import say

if TYPE_CHECKING:
    from vddbench.data.store import Split
    from vddbench.evaluation.hardware import Precision
    from vddbench.evaluation.speed import Speed

BATCH = 8  # clips per step, as in leaderboard/studies/bench
RANDOM_CLIPS = 1_000  # that stand for the train split of a dataset that is not prepared
STEPS = 3  # of a distillation that are timed, after one that is not
ONCE = {  # settings of work that is done once per dataset and kept: experts, stills, teachers; the cost of a step is the same
    **dict(min_start_epoch=0, max_start_epoch=1, first_max_start_epoch=0, num_experts=1),
    **dict(static_iterations=1, static_real_per_class=1, teacher_steps=1),
}


def measured(cells: Iterable[Cell]) -> Durations:
    """Measures what has no expected duration yet on this machine: minutes per student and method on CPUs.

    Left out are methods that make a set in one call, and the teachers, experts and stills of the others, which are made once
    per dataset.
    """
    from vddbench.system.device import best_device, device_name

    durations, speed, videos_of = dict[Work, Duration](), cache(_speed), cache(_videos_of)
    for work, cell in {work_of(cell): cell for cell in cells if cell.seconds is None}.items():
        videos = videos_of(cell.task.dataset)
        seconds = _evaluation_seconds(cell, videos, speed) if cell.kind == "evaluate" else _distillation_seconds(cell, videos)
        if seconds is not None:
            clips = "" if videos.train is not None else f" with random clips, because {cell.task.dataset} is not prepared here"
            without = "" if cell.kind == "evaluate" else ", without teachers, experts and stills"
            durations[work] = Duration(seconds, f"speeds measured now on {device_name(best_device())}{clips}{without}")
    return durations


class Videos(NamedTuple):
    """What durations depend on: the shape and the number of clips."""

    spec: DatasetSpec
    num_train: int
    num_tested: int  # test and validation videos
    train: Split | None  # None: the dataset is not prepared


def _videos_of(dataset: str) -> Videos:
    """Of the prepared dataset, or of the definition of a built-in one. Raises LookupError for others."""
    from vddbench.data.store import Store, prepared_names

    builtin = pinned(dataset)
    if builtin is None or dataset in prepared_names():
        store = Store.open(dataset)
        is_train = store.index["split"] == "train"
        tested = ~is_train | store.index["validation"]
        return Videos(store.spec, int(is_train.sum()), int(tested.sum()), store.train)
    spec, videos = builtin.SPEC, builtin.SPEC.num_videos  # a fifth of the train videos are for validation
    return Videos(spec, videos["train"], videos["test"] + videos["train"] // 5, None)


def _speed(student: str, dataset: str, precision: Precision | None) -> Speed:
    from vddbench.evaluation.speed import measure
    from vddbench.system.device import best_device

    say(f"measuring {student} on clips of {dataset}{f' in {precision}' if precision else ''}")
    return measure(lookup.load("student", student), _videos_of(dataset).spec, BATCH, best_device(), precision)


def _evaluation_seconds(cell: Cell, videos: Videos, speed_of: Callable[[str, str, Precision | None], Speed]) -> float:
    assert cell.student is not None
    recipe, spec = lookup.load("student", cell.student).RECIPE, videos.spec
    protocol = protocol_named(cell.protocol or PROTOCOL.name, cell.epochs)
    speed = speed_of(cell.student, cell.task.dataset, protocol.train_precision)
    # A set of more clips than ipc does not get larger batches.
    clips = videos.num_train if cell.task.ipc is None else spec.num_classes * cell.task.ipc
    passes = protocol.passes + 1 if isinstance(protocol, Sdd) else protocol.test_views
    return _train_clips(protocol, cell.task, spec, clips, recipe) * speed.train + videos.num_tested * passes * speed.test


def _train_clips(protocol: Protocol | Sdd, task: Task, spec: DatasetSpec, clips: int, recipe: Any) -> int:
    if isinstance(protocol, Sdd):
        return (protocol.epochs + protocol.one_epoch_more) * clips
    return task.student_steps(spec) * task.batch_size(spec, clips, recipe)


def _distillation_seconds(cell: Cell, videos: Videos) -> float | None:
    from vddbench.distillation.contract import IterativeBaselineModule
    from vddbench.distillation.learn import step
    from vddbench.distillation.presets import config_for
    from vddbench.distillation.run import Job, make_learner
    from vddbench.evaluation.speed import random_split, timed
    from vddbench.system.device import best_device
    from vddbench.system.home import temporary_home

    baseline, device = lookup.load("baseline", cell.method), best_device()
    if not isinstance(baseline, IterativeBaselineModule):
        return None
    config = config_for(baseline, cell.method, cell.task, cell.preset)
    train = videos.train or random_split(videos.spec, max(videos.spec.num_classes, RANDOM_CLIPS))
    say(f"measuring {STEPS} steps of {cell.method} on {cell.task}")
    cheap = replace(config, **{name: value for name, value in ONCE.items() if hasattr(config, name)})
    job = Job(method=cell.method, task=cell.task, seed=cell.seed, config=cheap, device=device, preset=cell.preset)
    with temporary_home():
        learner = make_learner(baseline, job, train)
        seconds = [timed(lambda number=number: step(learner, number).item(), device) for number in range(1 + STEPS)]  # type: ignore[misc]
    return float(median(seconds[1:])) * int(config.iterations)
