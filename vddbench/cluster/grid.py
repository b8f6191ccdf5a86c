"""`vddbench grid`: which sets and evaluations make up a published table, planned as one run.

A set that exists in the folder of submissions is evaluated as it is; the run distills the others. Records that exist are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType

from vddbench import lookup
from vddbench.cluster.cells import distillations, evaluations, evaluations_of
from vddbench.cluster.plan import SUBMISSIONS, Cell, Planned, Run
from vddbench.cluster.planning import digest_if_prepared, planned, unrecorded
from vddbench.data.pinned import check_pinned
from vddbench.data.store import Store
from vddbench.distillation.presets import PUBLISHED, config_for, is_published
from vddbench.leaderboard import reported
from vddbench.leaderboard.evidence import Loaded, load_listed
from vddbench.leaderboard.methods_text import check_has_baseline
from vddbench.leaderboard.paper_numbers import MEASURED, Number, conditions, numbers, of_table
from vddbench.leaderboard.paper_table import DATA_FORMS, drawn
from vddbench.leaderboard.paper_table import FORMS as FORMS  # noqa: PLC0414 - of the final tables
from vddbench.protocol import PROTOCOL, SDD, Protocol, Sdd
from vddbench.spec import FULL, IPCS, Task
from vddbench.submissions.manifest import MANIFEST, read_manifest
from vddbench.system.files import write_whole
from vddbench.system.progress import say


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table: every method on every dataset and ipc, every set with every student, seed and protocol.

    `full` has the task DATASET-full and one set.
    """

    datasets: tuple[str, ...]
    ipcs: tuple[int, ...]
    methods: tuple[str, ...] = ()  # (): those for which a paper reports a number on one of the datasets
    preset: str | None = None  # of the methods that have it; the others use their own settings. None: the published ones
    distill_seeds: int = 2  # the fewest that show how much distillations differ
    students: tuple[str, ...] = ("convnet3d",)
    seeds: int = PROTOCOL.default_seeds
    protocols: tuple[Protocol | Sdd, ...] = (PROTOCOL, SDD)

    @property
    def tasks(self) -> list[Task]:
        return [Task(dataset=dataset, ipc=ipc) for dataset in self.datasets for ipc in (None, *self.ipcs)]

    def to_json(self) -> dict[str, object]:
        return {**asdict(self), "protocols": [protocol.model_dump() for protocol in self.protocols]}

    def methods_of(self, task: Task) -> list[str]:
        return [method for method in self.methods if (method == FULL) == task.is_full]

    def preset_of(self, method: str) -> str | None:
        return self.preset if self.preset in getattr(lookup.load("baseline", method), "PRESETS", {}) else None


GRIDS: Mapping[str, Grid] = MappingProxyType(
    {
        "paper": Grid(datasets=("miniucf", "hmdb51"), ipcs=(1, 5)),
        "tiny": Grid(
            datasets=("movingshapes",),
            ipcs=(1,),
            methods=("random", "dm", "mtt"),
            preset="smoke",
            distill_seeds=1,
            seeds=2,
            protocols=(PROTOCOL, Sdd(epochs=5)),
        ),
    }
)


def checked(grid: Grid, *, needs_data: bool = True) -> Grid:
    """The grid with the names of its methods. Raises LookupError for unknown names and datasets that are not prepared.

    needs_data: False accepts built-in datasets that are not prepared, which can be planned but not run.
    """
    problems = not_prepared(grid.datasets)
    if refused := [problem for name, problem in problems.items() if needs_data or name not in lookup.names("dataset")]:
        raise LookupError("\n".join(refused))
    grid = replace(grid, methods=grid.methods or reported_methods(grid.datasets))
    for ipc in grid.ipcs:
        if ipc not in IPCS:
            raise LookupError(f"--ipc {ipc}: allowed are {', '.join(map(str, IPCS))}")
    for method in grid.methods:
        check_has_baseline(method)
        lookup.load("baseline", method)
    if grid.preset is not None and not any(grid.preset_of(method) for method in grid.methods):
        modules = [lookup.load("baseline", name) for name in lookup.usable("baseline")]
        if grid.preset not in (presets := {preset for module in modules for preset in getattr(module, "PRESETS", {})}):
            raise LookupError(lookup.unknown("preset", grid.preset, sorted(presets)))
    for student in grid.students:
        lookup.check_known("student", student)
    return grid


def reported_methods(datasets: Iterable[str]) -> tuple[str, ...]:
    """The baselines for which a paper reports a number on one of the datasets; all others are left to `--methods`."""
    wanted = set(datasets)
    methods = [
        name
        for name in lookup.names("baseline")
        if any(row.dataset in wanted and row.top1_mean is not None for row in reported.of_method(name))
    ]
    if not methods:
        raise LookupError(f"{reported.FILE.name} has no number for {', '.join(sorted(wanted))}: name methods with --methods")
    return tuple(methods)


def not_prepared(datasets: Iterable[str]) -> dict[str, str]:
    """For each dataset that is not prepared here, or not as this version defines it: what to do."""
    problems = {}
    for dataset in datasets:
        try:
            check_pinned(Store.open(dataset))
        except (LookupError, ValueError) as error:
            problems[dataset] = str(error)
    return problems


def plan(grid: Grid, results: Path, submissions: Path, out: Path, measure: bool = False) -> Planned:
    """Plans the grid as a run in `out`. Planning the same grid again changes nothing.

    Raises ValueError if a set in `submissions` has the name of one of the grid and was made with other settings.
    """
    before = {cell.makes for cell in Run.open(out).cells} if (out / "plan.json").exists() else set()
    cells: list[Cell] = []
    existing = 0
    for distillation in _distillations(grid):
        folder = (submissions / distillation.set_folder.removeprefix(f"{SUBMISSIONS}/")).resolve()
        if distillation.makes not in before and (folder / MANIFEST).exists():
            check_same_settings(folder, distillation)
            existing += 1
            for protocol in grid.protocols:
                cells += evaluations([folder], grid.students, range(grid.seeds), protocol=protocol)
        else:
            cells.append(distillation)
            for protocol in grid.protocols:
                cells += evaluations_of(distillation, grid.students, range(grid.seeds), protocol)
    left = unrecorded(cells, results)
    if existing:
        say(f"{existing:,} sets exist in {submissions} and are evaluated as they are")
    say_unpublished(grid)
    return replace(planned(left, [results], [submissions, out / SUBMISSIONS], out, measure), recorded=len(cells) - len(left))


def _distillations(grid: Grid) -> Iterator[Cell]:
    for task in grid.tasks:
        for method in grid.methods_of(task):
            seeds = range(1 if method == FULL else grid.distill_seeds)
            yield from distillations([method], task, seeds, grid.preset_of(method))


def check_same_settings(folder: Path, distillation: Cell) -> None:
    """Raises ValueError if the set in `folder` is not one that this cell could have made."""
    manifest, method = read_manifest(folder), distillation.method
    config = asdict(config_for(lookup.load("baseline", method), method, distillation.task, distillation.preset))
    made = {**manifest.config, "holdout": manifest.holdout}
    different = [
        f"{name} {str(made.get(name, 'missing'))[:40]} (the grid: {str(value)[:40]})"
        for name, value in {**config, "holdout": False}.items()
        if made.get(name) != value
    ]
    digest = digest_if_prepared(distillation.task.dataset)
    if digest is not None and manifest.store_digest not in {None, digest}:
        different.append(f"prepared store {str(manifest.store_digest)[:8]} (here: {digest[:8]})")
    if different:
        raise ValueError(
            f"{folder} was made with other settings: {', '.join(different)}; move it away, or give --submissions another folder"
        )


def say_unpublished(grid: Grid) -> None:
    """Says which methods have no settings published for a task and use those of another one."""
    for task in grid.tasks:
        methods = [
            method
            for method in grid.methods_of(task)
            if grid.preset_of(method) is None and not is_published(lookup.load("baseline", method), task)
        ]
        if methods:
            say(f"{', '.join(methods)}: no settings are published for {task}; they use those for {PUBLISHED}", style="yellow")


def refused(run: Run, failures: Sequence[Mapping[str, object]]) -> dict[str, str]:
    """The sets whose methods cannot serve their tasks, by folder: a line with the reason."""
    lines = {}
    for failure in failures:
        if failure["why"] == "refused":
            cell = run.cells[int(str(failure["cell"]))]
            what = f"{cell.task} {cell.method} seed {cell.seed}"
            lines[cell.set_folder] = f"{what} is left out: {reason_of(failure) or 'see its log'}"
    return lines


def reason_of(failure: Mapping[str, object]) -> str:
    """The last error in the log of a failed cell, "" if there is none."""
    errors = [line for line in str(failure["tail"]).splitlines() if line.startswith("error: ")]
    return errors[-1].removeprefix("error: ") if errors else ""


def show(grid: Grid, results: Path, form: str, latex: Path | None = None) -> None:
    """Prints the table of papers for each protocol, with the grid's own methods. form: one of FORMS.

    CSV and JSON are one table of all protocols, with each reported number once. latex: a file that is written with the same
    tables. Raises what `numbers` raises.
    """
    tasks = [str(task) for task in grid.tasks if not task.is_full]
    parts = list(_numbers(grid, tasks, load_listed([results])))
    if form in DATA_FORMS:
        _, first = parts[0]
        print(drawn([*first, *(one for _, part in parts[1:] for one in part if one.kind == MEASURED)], tasks, form))
    else:
        print(_drawn(parts, tasks, form))
    if latex is not None:
        write_whole(latex, f"{_drawn(parts, tasks, 'latex')}\n".encode())


def _drawn(parts: Sequence[tuple[str, list[Number]]], tasks: Sequence[str], form: str) -> str:
    """The tables below each other, each with its title."""
    heading = "% {}\n" if form == "latex" else "\n{}\n\n"
    return "\n".join(heading.format(title) + drawn(part, tasks, form) for title, part in parts)


def _numbers(grid: Grid, tasks: Sequence[str], loaded: Loaded) -> Iterator[tuple[str, list[Number]]]:
    """The title and the numbers of each table."""
    names = [lookup.named_in_tables(method, grid.preset_of(method)) for method in grid.methods]
    for protocol in grid.protocols:
        recorded = {one.record.method for one in of_table(loaded, tasks, grid.students, protocol)}
        own = [name for name in names if name in recorded]
        yield conditions(grid.students, protocol), numbers(loaded, tasks, grid.students, protocol, own)
