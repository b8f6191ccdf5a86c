"""What `vddbench diff` prints: the difference of two methods, overall and by class, and other values that differ."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from vddbench.leaderboard.entry import MIN_SEEDS
from vddbench.leaderboard.evidence import Evaluated
from vddbench.leaderboard.paired import Difference, Pair, pairs
from vddbench.leaderboard.site.dataset_specs import bundled_spec, prepared_spec
from vddbench.spec import Manifest
from vddbench.submissions.manifest import read_manifest
from vddbench.system.progress import clean

CLASSES_SHOWN = 20  # those with the largest differences
RECORD_FIELDS = ("payload_bytes", "clips_per_class", "clip_steps", "external", "holdout", "num_missing")
ENVIRONMENT_FIELDS = (
    "device", "precision", "torch", "cuda", "num_threads", "micro_batch", "python", "vddbench", "git_commit",
)  # fmt: skip
MANIFEST_FIELDS = (
    "decoder", "labels", "external_data", "distill_seconds", "distill_hardware", "distill_clips_read", "paper", "code",
)  # fmt: skip


def show(
    roots: Sequence[Path],
    submissions: Path,
    first: str,
    second: str,
    task: str | None = None,
    student: str | None = None,
    division: str | None = None,
    as_json: bool = False,
) -> None:
    """Prints every table that both methods are in. Raises what `pairs` and `Pair.difference` raise."""
    found = pairs(roots, first, second, task, student, division)
    if as_json:
        print(json.dumps([to_json(pair, submissions) for pair in found], indent=1))
        return
    for pair in found:
        print(f"\n{headline(pair, first, second)}\n")
        print(per_class(pair, first, second))
        rows = [[name, *values] for name, values in differing(pair, submissions).items()]
        if rows:
            print("\n" + clean(tabulate(rows, ("what differs", first, second), disable_numparse=True)))


def to_json(pair: Pair, submissions: Path) -> dict[str, Any]:
    """A comparison for programs: all classes, top-1 in [0, 1], null where there is no interval."""
    classes = json.loads(pair.per_class().to_json(orient="records", double_precision=15))
    found = vars(pair.difference())
    overall = found | {name: None for name in ("low", "high") if np.isnan(found[name])}
    return {**pair.table._asdict(), **overall, "classes": classes, "differs": differing(pair, submissions)}


def headline(pair: Pair, first: str, second: str) -> str:
    result, table = pair.difference(), pair.table
    if np.isnan(result.low):
        interval = f"no interval: {missing(result, first, second)}"
    else:
        better = first if result.low > 0 else second if result.high < 0 else None
        verdict = "no significant difference" if better is None else f"{better} is better"
        interval = f"95 % from {100 * result.low:+.1f} to {100 * result.high:+.1f}; {verdict}"
    counts = zip(result.runs, result.sets, strict=True)
    runs = " and ".join(f"{counted(runs, 'student')} of {counted(sets, 'distillation')}" for runs, sets in counts)
    division = f" · division {table.division}" if table.division else ""
    return (
        f"{table.task} · network {table.student} · {table.track} labels{division}: {first} {result.first:.1%}, {second} "
        f"{result.second:.1%}: {100 * result.top1:+.1f} points, {interval} ({runs})"
    )


def missing(result: Difference, first: str, second: str) -> str:
    """Why a difference has no interval."""
    few = [
        f"{name} has {counted(runs, 'student')}"
        for name, runs in zip((first, second), result.runs, strict=True)
        if runs < MIN_SEEDS
    ]
    if few:
        return f"{' and '.join(few)}, it needs {MIN_SEEDS}"
    return "it needs 2 students of each distillation and 2 groups of test videos"


def counted(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def per_class(pair: Pair, first: str, second: str) -> str:
    """A table of the classes that differ most."""
    table = pair.per_class()
    spec = prepared_spec(pair.first[0]) or bundled_spec(pair.first[0])
    largest = table["top1"].abs().sort_values(ascending=False, kind="stable").index[:CLASSES_SHOWN]
    lines = []
    for row in table.loc[largest.sort_values()].to_dict("records"):
        result = Difference(**{name: row[name] for name in Difference.__dataclass_fields__})
        interval = "-" if np.isnan(result.low) else f"({100 * result.low:+.0f} to {100 * result.high:+.0f})"
        scores = [f"{100 * result.first:.0f}", f"{100 * result.second:.0f}", f"{100 * result.top1:+.0f}"]
        name = spec.class_names[row["label"]] if spec is not None else str(row["label"])
        lines.append([clean(name), row["videos"], *scores, interval])
    head = ("class", "test videos", f"{first} %", f"{second} %", "difference", "95 %")
    omitted = len(table) - len(lines)
    note = f"\n... and {omitted} classes that differ less" if omitted else ""
    text = tabulate(lines, head, disable_numparse=True)
    return f"{text}{note}\nWith many classes, one interval in twenty excludes 0 by chance."


def differing(pair: Pair, submissions: Path) -> dict[str, tuple[str, str]]:
    """The values that differ between the records and, if the submissions are on this machine, between their manifests."""
    first, second = (properties(evaluated, submissions) for evaluated in (pair.first, pair.second))
    both = {name: (first.get(name, "-"), second.get(name, "-")) for name in {**first, **second}}
    return {name: values for name, values in both.items() if values[0] != values[1]}


def properties(evaluated: Sequence[Evaluated], submissions: Path) -> dict[str, str]:
    """Every value in the records and manifests of a method, as text by name."""
    records = [one.record for one in evaluated]
    values = {name: listed(getattr(record, name) for record in records) for name in RECORD_FIELDS}
    values |= {name: listed(getattr(record.environment, name) for record in records) for name in ENVIRONMENT_FIELDS}
    manifests = [manifest for one in evaluated if (manifest := manifest_of(one, submissions)) is not None]
    if manifests:
        values |= {name: listed(getattr(manifest, name) for manifest in manifests) for name in MANIFEST_FIELDS}
        keys = sorted({key for manifest in manifests for key in manifest.config})
        values |= {f"config {key}": listed(manifest.config.get(key, "-") for manifest in manifests) for key in keys}
    return values


def manifest_of(one: Evaluated, submissions: Path) -> Manifest | None:
    """The manifest of the payload that was evaluated; None if the folder of submissions does not contain it."""
    record = one.record
    try:
        manifest = read_manifest((submissions / str(record.task) / record.folder).resolve())
    except (ValueError, OSError):
        return None
    return manifest if manifest.sha256 == record.submission_sha256 else None


def listed(values: Iterable[object]) -> str:
    """Each known value once, sorted; "-" if there is none."""
    known = [value for value in values if value is not None and value != ""]
    texts = sorted({f"{value:,}" if type(value) is int else str(value) for value in known}) or ["-"]
    return ", ".join(texts)[:200]
