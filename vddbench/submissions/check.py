"""`vddbench check`: what a submission holds and costs, and every reason why it would be refused.

Everything is measured from the files; nothing is taken from the manifest. The checks are the ones that `evaluate` makes,
but they don't stop at the first that fails.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

import pyarrow as pa
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vddbench.data.store import Store, store_path
from vddbench.spec import ClipSet, DatasetSpec, Manifest, Submission, Task
from vddbench.submissions import payload, submission
from vddbench.submissions.manifest import read_manifest
from vddbench.submissions.tensors import value_range
from vddbench.system.progress import bar, clean

P = ParamSpec("P")
R = TypeVar("R")
DECODED_SLACK_BYTES = 1_000_000  # a payload up to this much over budget is still decoded, to list what else is wrong
CHUNK_BYTES = 4_000_000
NAMES_SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class Contents:
    """The decoded clips. Soft labels count for the class of their largest probability."""

    per_class: tuple[int, ...]  # [K] clips: the label histogram
    distinct_per_class: tuple[int, ...]  # [K] clips that differ from each other in at least one byte
    num_distinct: int  # over all classes
    num_constant: int  # clips of one single value
    low: float  # smallest and largest value, on the 0-255 scale
    high: float


@dataclass(frozen=True, kw_only=True)
class Report:
    """`accepted` when there is no reason for refusal; warnings don't refuse."""

    path: Path
    manifest: Manifest | None  # None: unreadable, and likewise below
    task: Task | None
    spec: DatasetSpec | None
    rows: tuple[payload.Entry, ...]
    zstd_bytes: int | None
    contents: Contents | None
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def accepted(self) -> bool:
        return not self.reasons

    @property
    def payload_bytes(self) -> int:
        return sum(row.num_bytes for row in self.rows)

    @property
    def budget_bytes(self) -> int | None:
        return self.task.budget_bytes(self.spec) if self.task and self.spec else None

    @property
    def fp32_mib(self) -> float:
        """The literature's convention: MiB of the same tensors if every value were a float32."""
        return sum(row.num_values for row in self.rows) * 4 / 2**20


def check(path: Path, spec: DatasetSpec | None = None) -> Report:
    """Runs every check that the ones before it allow. Raises FileNotFoundError when there is no such folder."""
    reasons: list[str] = []

    def attempt(step: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R | None:
        try:
            return step(*args, **kwargs)
        except (ValueError, LookupError, OSError) as error:
            if isinstance(error, KeyError | IndexError):  # ours, not the submission's
                raise
            reasons.extend(str(error).splitlines())
            return None

    folder = submission.folder_of(path)
    manifest = attempt(read_manifest, folder)
    if manifest:
        attempt(submission.check_place, folder, manifest)
    task = manifest.task if manifest else attempt(Task.parse, folder.parent.name)
    spec = spec or (attempt(submission.spec_of, task.dataset) if task else None)
    data = attempt(submission.data_file, folder)
    rows = (attempt(payload.entries, data) or []) if data else []
    if rows and task and spec:
        attempt(submission.check_bytes, rows, task, spec)
    if manifest and data:
        attempt(submission.check_sha256, folder, manifest)
    if manifest and task and store_path(task.dataset).is_dir():
        store = attempt(Store.open, task.dataset)
        attempt(submission.check_store, manifest, store.id) if store else None
    warnings: list[str] = []
    contents = None
    if rows and data and manifest and task and spec and _is_near_budget(rows, task, spec, warnings):
        read = Submission(path=folder, manifest=manifest, tensors=payload.load(data))
        clip_set = attempt(submission.decode, read, spec)
        contents = contents_of(clip_set, spec) if clip_set else None
        warnings += _warnings(contents, spec) if contents else []
    return Report(
        path=folder,
        manifest=manifest,
        task=task,
        spec=spec,
        rows=tuple(rows),
        zstd_bytes=zstd_bytes(data) if rows and data else None,
        contents=contents,
        reasons=tuple(dict.fromkeys(reasons)),
        warnings=tuple(warnings),
    )


def _is_near_budget(rows: list[payload.Entry], task: Task, spec: DatasetSpec, warnings: list[str]) -> bool:
    budget = task.budget_bytes(spec)
    near = budget is None or sum(row.num_bytes for row in rows) <= budget + DECODED_SLACK_BYTES
    if not near:
        warnings.append("the clips were not decoded, the payload is too far over budget: correct that and check again")
    return near


def contents_of(clip_set: ClipSet, spec: DatasetSpec) -> Contents:
    """Counts clips, distinct clips and values. A clip at a time: the clips may be memory-mapped."""
    labels = clip_set.labels if clip_set.labels.ndim == 1 else clip_set.labels.argmax(1)
    seen: list[set[bytes]] = [set() for _ in range(spec.num_classes)]
    lows, highs = [], []
    with bar("measuring clips", len(clip_set)) as progress:
        for clip, label in zip(clip_set.clips, labels.tolist(), strict=True):
            seen[label].add(hashlib.sha256(clip.contiguous().numpy().data).digest())
            low, high = value_range(clip)
            lows.append(low)
            highs.append(high)
            progress.advance()
    return Contents(
        per_class=tuple(labels.bincount(minlength=spec.num_classes).tolist()),
        distinct_per_class=tuple(len(hashes) for hashes in seen),
        num_distinct=len(set().union(*seen)),
        num_constant=sum(low == high for low, high in zip(lows, highs, strict=True)),
        low=min(lows),
        high=max(highs),
    )


def _warnings(contents: Contents, spec: DatasetSpec) -> list[str]:
    warnings = []
    absent = [name for name, count in zip(spec.class_names, contents.per_class, strict=True) if not count]
    if absent:
        more = f" and {len(absent) - NAMES_SHOWN} more" if len(absent) > NAMES_SHOWN else ""
        warnings.append(f"no clip of {len(absent)} classes: {', '.join(absent[:NAMES_SHOWN])}{more}")
    if twins := sum(contents.per_class) - contents.num_distinct:
        warnings.append(f"{twins:,} clips are copies of another one: they cost bytes and teach nothing new")
    if contents.num_constant:
        warnings.append(f"{contents.num_constant:,} clips hold one single value")
    if max(abs(contents.low), abs(contents.high)) <= 10:
        warnings.append(
            f"values from {contents.low:.4g} to {contents.high:.4g} look normalised; clips are stored on the 0-255 scale, "
            "`vddbench pack` converts"
        )
    elif contents.low < -255 or contents.high > 510:
        warnings.append(f"values from {contents.low:.6g} to {contents.high:.6g} lie far outside 0-255")
    return warnings


class _Counter:
    """A file that only counts what is written."""

    closed = False
    num_bytes = 0

    def write(self, data: bytes) -> int:
        self.num_bytes += len(data)
        return len(data)

    def flush(self) -> None: ...

    def close(self) -> None: ...


def zstd_bytes(path: Path) -> int:
    """Size of the file after zstd at pyarrow's default level, in a stream: nothing is held in memory."""
    counter = _Counter()
    with (
        path.open("rb") as file,
        pa.CompressedOutputStream(pa.PythonFile(counter, mode="w"), "zstd") as compressed,
        bar("compressing", path.stat().st_size) as progress,
    ):
        while chunk := file.read(CHUNK_BYTES):
            compressed.write(chunk)
            progress.advance(len(chunk))
    return counter.num_bytes


def render(report: Report, console: Console) -> None:
    """Prints the byte table, the facts, the warnings, and `accepted` or every reason for refusal."""
    if report.manifest:
        said = report.manifest
        console.print(f"[bold]{_safe(str(report.path))}[/]  decoder {said.decoder}, {said.labels} labels")
    else:
        console.print(f"[bold]{_safe(str(report.path))}[/]")
    if report.rows:
        console.print(_byte_table(report))
        console.print(_facts(report))
    for warning in report.warnings:
        console.print(f"[yellow]warning:[/] {_safe(warning)}", soft_wrap=True)
    for number, reason in enumerate(report.reasons, 1):
        console.print(f"[red]reason {number}:[/] {_safe(reason)}", soft_wrap=True)
    console.print("[green]accepted[/]" if report.accepted else "[red]refused[/]")


def _safe(text: str) -> str:
    """Text that may be a stranger's: neither markup nor escape codes reach the terminal."""
    return escape(clean(text))


def _byte_table(report: Report) -> Table:
    table = Table("tensor", "shape", "dtype")
    for column in ("bytes", "share"):
        table.add_column(column, justify="right")
    total = max(report.payload_bytes, 1)
    for row in sorted(report.rows, key=lambda row: -row.num_bytes):
        shape, dtype = " x ".join(map(str, row.shape)), str(row.dtype).removeprefix("torch.")
        table.add_row(escape(ascii(row.name)[1:-1][:60]), shape, dtype, f"{row.num_bytes:,}", f"{row.num_bytes / total:.1%}")
    return table


def _facts(report: Report) -> Table:
    table = Table(show_header=False)
    size, budget = report.payload_bytes, report.budget_bytes
    table.add_row("payload", f"{size:,} bytes")
    if budget:
        table.add_row("budget", f"{budget:,} bytes, {size / budget:.2%} used")
    elif report.task and report.task.ipc is None:
        table.add_row("budget", "none: the unbudgeted reference")
    if report.spec:
        table.add_row("bits per class", f"{size * 8 / report.spec.num_classes:,.0f}")
    if report.zstd_bytes is not None:
        table.add_row("after zstd", f"{report.zstd_bytes:,} bytes")
    table.add_row("literature's convention", f"{report.fp32_mib:,.2f} MiB (every value as float32)")
    if contents := report.contents:
        table.add_row("clips", f"{sum(contents.per_class):,}, {contents.num_distinct:,} distinct")
        groups = Counter(zip(contents.per_class, contents.distinct_per_class, strict=True))
        ordered = sorted(groups.items(), reverse=True)
        for (count, distinct), classes in ordered[:NAMES_SHOWN]:
            table.add_row("clips of a class", f"{count:,} ({distinct:,} distinct) in {classes:,} classes")
        if rest := sum(classes for _, classes in ordered[NAMES_SHOWN:]):
            table.add_row("clips of a class", f"fewer in {rest:,} classes")
        table.add_row("value range", f"{contents.low:.6g} to {contents.high:.6g} on the 0-255 scale")
    return table
