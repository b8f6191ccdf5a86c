"""The report that `check` returns, and its text: byte table, facts, warnings, and `accepted` or every reason for refusal."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vddbench.spec import DIVISIONS, DatasetSpec, Manifest, Task
from vddbench.submissions import payload
from vddbench.submissions.appearance import Appearance
from vddbench.system.progress import clean

NAMES_SHOWN = 10
TEXT_WIDTH = 110  # columns of `str(report)`


@dataclass(frozen=True, kw_only=True)
class Contents:
    """Measurements of the decoded clips. A clip with soft labels counts for the class of its largest probability."""

    per_class: tuple[int, ...]  # [K] clips: the label histogram
    distinct_per_class: tuple[int, ...]  # [K] the same, with identical clips counted once
    num_distinct: int  # over all classes
    num_constant: int  # clips of one single value
    low: float  # smallest and largest value, on the 0-255 scale
    high: float
    appearance: Appearance
    train: Appearance | None = None  # of the train split; None: the dataset is not prepared here


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a submission holds and costs, and whether it is `accepted`. Warnings do not cause a refusal.

    A field is None if it could not be read or measured.
    """

    path: Path
    reasons: tuple[str, ...]  # for refusal, one line each
    warnings: tuple[str, ...]
    manifest: Manifest | None
    task: Task | None
    spec: DatasetSpec | None
    entries: tuple[payload.Entry, ...]  # the tensors of the payload
    contents: Contents | None
    zstd_bytes: int | None  # size of the payload's file after compression

    @property
    def accepted(self) -> bool:
        return not self.reasons

    @property
    def payload_bytes(self) -> int:
        return sum(entry.num_bytes for entry in self.entries)

    @property
    def budget_bytes(self) -> int | None:
        """Also None for a task without a budget."""
        return self.task.budget_bytes(self.spec) if self.task and self.spec else None

    @property
    def divisions(self) -> tuple[str, ...]:
        """The divisions that rank the set."""
        if self.task is None or self.contents is None:
            return ()
        return self.task.divisions(sum(self.contents.per_class) / len(self.contents.per_class))

    @property
    def fp32_mib(self) -> float:
        """The convention of the literature: the MiB that the tensors would have if every value were a float32."""
        return sum(entry.num_values for entry in self.entries) * 4 / 2**20

    def to_json(self) -> dict[str, Any]:
        """Everything that the text says, for programs."""
        tensors = [
            {"name": one.name, "shape": list(one.shape), "dtype": payload.dtype_name(one.dtype), "bytes": one.num_bytes}
            for one in self.entries
        ]
        return {
            "path": str(self.path),
            "accepted": self.accepted,
            "reasons": list(self.reasons),
            "warnings": list(self.warnings),
            "manifest": self.manifest.model_dump(mode="json") if self.manifest else None,
            "payload_bytes": self.payload_bytes,
            "budget_bytes": self.budget_bytes,
            "divisions": list(self.divisions),
            "zstd_bytes": self.zstd_bytes,
            "tensors": tensors,
            "contents": asdict(self.contents) if self.contents else None,
        }

    def __str__(self) -> str:
        text = io.StringIO()
        render(self, Console(file=text, width=TEXT_WIDTH, color_system=None))
        return text.getvalue().rstrip()


def render(report: Report, console: Console) -> None:
    """Prints the byte table, the facts, the warnings, and `accepted` or every reason for refusal."""
    kind = f"  decoder {report.manifest.decoder}, {report.manifest.labels} labels" if report.manifest else ""
    console.print(f"[bold]{_safe(str(report.path))}[/]{kind}", soft_wrap=True)
    if report.entries:
        console.print(_byte_table(report))
        console.print(_facts(report))
    for warning in report.warnings:
        console.print(f"[yellow]warning:[/] {_safe(warning)}", soft_wrap=True)
    for number, reason in enumerate(report.reasons, 1):
        console.print(f"[red]reason {number}:[/] {_safe(reason)}", soft_wrap=True)
    console.print("[green]accepted[/]" if report.accepted else "[red]refused[/]")


def _safe(text: str) -> str:
    """A text that may come from a stranger, without markup and escape codes that a terminal would obey."""
    return escape(clean(text))


def _byte_table(report: Report) -> Table:
    table = Table("tensor", "shape", "dtype")
    for column in ("bytes", "share"):
        table.add_column(column, justify="right")
    total = max(report.payload_bytes, 1)
    for row in sorted(report.entries, key=lambda row: -row.num_bytes):
        shape, dtype = " x ".join(map(str, row.shape)), payload.dtype_name(row.dtype)
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
        table.add_row("per class", f"{size / report.spec.num_classes:,.0f} bytes")
    if report.zstd_bytes is not None:
        table.add_row("after zstd", f"{report.zstd_bytes:,} bytes")
    table.add_row("literature's convention", f"{report.fp32_mib:,.2f} MiB (every value as float32)")
    if contents := report.contents:
        table.add_row("clips", f"{sum(contents.per_class):,}, {contents.num_distinct:,} distinct")
        if report.task and report.divisions:
            outside = "" if report.divisions == DIVISIONS else f" (ipc allows {report.task.ipc} per class)"
            table.add_row("division", " and ".join(report.divisions) + outside)
        groups = Counter(zip(contents.per_class, contents.distinct_per_class, strict=True))
        ordered = sorted(groups.items(), reverse=True)
        for (count, distinct), classes in ordered[:NAMES_SHOWN]:
            table.add_row("clips of a class", f"{count:,} ({distinct:,} distinct) in {classes:,} classes")
        if rest := sum(classes for _, classes in ordered[NAMES_SHOWN:]):
            table.add_row("clips of a class", f"fewer in {rest:,} classes")
        table.add_row("value range", f"{contents.low:.6g} to {contents.high:.6g} on the 0-255 scale")
        table.add_row("look of the clips", str(contents.appearance))
        table.add_row("look of the train split", str(contents.train or "not prepared here"))
    return table
