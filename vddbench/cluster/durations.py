"""How long cells should take: from records and manifests that exist, or from speeds measured on this machine."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from vddbench import lookup
from vddbench.cluster.plan import Cell
from vddbench.data.pinned import pinned
from vddbench.protocol import PROTOCOL, Protocol, Sdd, protocol_named
from vddbench.records.files import MAX_JSON_BYTES
from vddbench.spec import DatasetSpec, Task
from vddbench.submissions.manifest import MANIFEST, read_manifest
from vddbench.system.files import read_json
from vddbench.system.progress import say

if TYPE_CHECKING:
    from vddbench.data.store import Split

BATCH = 8  # clips per step when measuring, as in leaderboard/studies/bench
MOST_RECORDS = 50  # that are read for each submission and student
MAX_SECONDS = 1e7
RANDOM_CLIPS = 1_000  # that stand for the train split of a dataset that is not prepared
STEPS = 3  # of a distillation that are timed, after one that is not
ONCE = {  # settings of work that is done once per dataset and kept: experts, stills, pools; the cost of a step is the same
    **dict(min_start_epoch=0, max_start_epoch=1, first_max_start_epoch=0, num_experts=1),
    **dict(static_iterations=1, static_real_per_class=1),
}


class Work(NamedTuple):
    """Cells that should take equally long."""

    kind: str  # of the cells
    task: Task
    name: str  # STUDENT or STUDENT-sdd; distill: METHOD or METHOD_PRESET
    epochs: int | None


class Duration(NamedTuple):
    """The expected seconds of one cell, and what they rest on."""

    seconds: float
    basis: str


Durations = Mapping[Work, Duration]


def work_of(cell: Cell) -> Work:
    name = cell.work if cell.kind == "evaluate" else lookup.named_in_tables(cell.method, cell.preset)
    return Work(cell.kind, cell.task, name, cell.epochs)


def with_durations(cells: Iterable[Cell], durations: Durations) -> list[Cell]:
    """The cells with `seconds` where it is known."""
    return [
        cell.model_copy(update={"seconds": round(durations[work_of(cell)].seconds, 1)}) if work_of(cell) in durations else cell
        for cell in cells
    ]


def basis_of(cells: Iterable[Cell], durations: Durations, is_measured: bool) -> list[str]:
    """One line for each basis of the cells' durations, and one for what is not known. is_measured: after --measure."""
    bases = Counter(durations[work].basis if (work := work_of(cell)) in durations else "" for cell in cells)
    unknown = sorted({work_of(cell).name for cell in cells if work_of(cell) not in durations})
    lines = [f"expected durations of {number:,} cells: {basis}" for basis, number in sorted(bases.items()) if basis]
    if unknown:
        names = ", ".join(unknown)
        why = (
            "--measure does not time methods that make a set in one call; finish"
            if is_measured
            else "Plan again with --measure on a machine with your GPU; or finish"
        )
        lines.append(
            f"expected durations of {bases['']:,} cells are unknown: {names}. {why} one cell of a kind: the next plan uses its "
            "record or manifest"
        )
    return lines


def recorded(results: Sequence[Path], submissions: Sequence[Path] = ()) -> Durations:
    """Median durations of evaluations, from records, and of distillations, from manifests, on the fastest machine of each.

    Does not check the records, because a wrong duration only makes an estimate wrong; skips those that cannot be read.
    """
    seconds: dict[Work, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for work, device, value in (*_of_records(results), *_of_manifests(submissions)):
        if 0 < value < MAX_SECONDS:
            seconds[work][device].append(value)
    return {work: _shortest(by_device, work.kind) for work, by_device in seconds.items()}


def _shortest(by_device: Mapping[str, list[float]], kind: str) -> Duration:
    device, values = min(by_device.items(), key=lambda of_device: (median(of_device[1]), of_device[0]))
    return Duration(median(values), f"medians of {'records' if kind == 'evaluate' else 'manifests'} made on {device}")


def _of_records(roots: Sequence[Path]) -> Iterator[tuple[Work, str, float]]:
    for folder in (folder for root in roots for folder in root.glob("*/*@*/*")):
        for file in islice(sorted(folder.glob("seed*.json")), MOST_RECORDS):
            try:
                task, record = Task.parse(folder.parts[-3]), read_json(file, MAX_JSON_BYTES)
                epochs = record.get("epochs")
                device = (record.get("environment") or {}).get("device") or "an unknown machine"
                yield (
                    Work("evaluate", task, folder.name, None if epochs is None else int(epochs)),
                    str(device)[:100],
                    float(record["train_seconds"]) + float(record["test_seconds"]),
                )
            except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
                continue


def _of_manifests(roots: Sequence[Path]) -> Iterator[tuple[Work, str, float]]:
    for file in (file for root in roots for file in root.glob(f"*/*/{MANIFEST}")):
        try:
            manifest = read_manifest(file.parent.resolve())
        except (OSError, ValueError):
            continue
        device = manifest.distill_hardware[:100] or "an unknown machine"
        yield Work("distill", manifest.task, manifest.method, None), device, manifest.distill_seconds or 0.0


def measured(cells: Iterable[Cell]) -> Durations:
    """Measures what has no expected duration yet on this machine: minutes per student and method on CPUs.

    Left out are methods that make a set in one call, and the teachers, experts and stills of the others, which are made once
    per dataset.
    """
    from vddbench.system.device import best_device, device_name

    durations = {}
    for work, cell in {work_of(cell): cell for cell in cells if cell.seconds is None}.items():
        data = _videos_of(cell.task.dataset)
        seconds = _evaluation_seconds(cell, data) if cell.kind == "evaluate" else _distillation_seconds(cell, data)
        if seconds is not None:
            clips = "" if data.train is not None else f" with random clips, because {cell.task.dataset} is not prepared here"
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


def _evaluation_seconds(cell: Cell, videos: Videos) -> float:
    from vddbench.evaluation.speed import measure
    from vddbench.system.device import best_device

    assert cell.student is not None
    module, spec = lookup.load("student", cell.student), videos.spec
    say(f"measuring {cell.student} on clips of {cell.task}")
    protocol = protocol_named(cell.protocol or PROTOCOL.name, cell.epochs)
    is_replay = isinstance(protocol, Sdd)
    speed = measure(module, spec, BATCH, best_device(), "fp32" if is_replay else None)
    clips = videos.num_train if cell.task.ipc is None else spec.num_classes * cell.task.ipc  # larger sets: no larger batches
    passes = protocol.passes + 1 if isinstance(protocol, Sdd) else protocol.test_views
    return _train_clips(protocol, cell.task, spec, clips, module.RECIPE) * speed.train + videos.num_tested * passes * speed.test


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
