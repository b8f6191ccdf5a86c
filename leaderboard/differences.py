"""What `vddbench diff` prints: how far two methods are apart, on which classes, and what else differs. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from tabulate import tabulate

from vddbench.leaderboard.evidence import Evaluated
from vddbench.leaderboard.paired import Difference, Pair, pairs
from vddbench.leaderboard.rank import MIN_SEEDS
from vddbench.leaderboard.site.dataset_specs import bundled_spec, prepared_spec
from vddbench.spec import Manifest
from vddbench.submissions.manifest import read_manifest
from vddbench.system.progress import clean

CLASSES_SHOWN = 20  # of those with the largest differences
FIELDS = ("payload_bytes", "clips_per_class", "clip_steps", "external", "holdout", "num_missing")
PLACES = ("device", "precision", "torch", "cuda", "num_threads", "micro_batch", "python", "vddbench", "git_commit")
OF_MANIFEST = (
    "decoder",
    "labels",
    "external_data",
    "distill_seconds",
    "distill_hardware",
    "distill_clips_read",
    "paper",
    "code",
)


def show(
    roots: Sequence[Path], submissions: Path, first: str, second: str, task: str | None = None, student: str | None = None
) -> None:
    """Prints it. Raises what `pairs` does, and ValueError for two sets of one distillation seed."""
    for pair in pairs(roots, first, second, task, student):
        print(f"\n{headline(pair, first, second)}\n")
        print(per_class(pair, first, second))
        rows = [[name, *values] for name, values in differing(pair, submissions).items()]
        if rows:
            print("\n" + clean(tabulate(rows, ("what differs", first, second), disable_numparse=True)))


def headline(pair: Pair, first: str, second: str) -> str:
    found = pair.difference()
    counts = found.runs, found.sets
    if np.isnan(found.low):
        told = f"no interval: that takes {MIN_SEEDS} students of each, 2 of each distillation, 2 groups of test videos"
    else:
        verdict = "more" if found.low > 0 else "less" if found.high < 0 else "not told apart"
        told = f"95 % from {100 * found.low:+.1f} to {100 * found.high:+.1f}; {verdict}"
    runs = " and ".join(f"{counted(n, 'student')} of {counted(sets, 'distillation')}" for n, sets in zip(*counts, strict=True))
    return (
        f"{pair.task} · student {pair.student} · {pair.track} labels: {first} {found.first:.1%}, {second} {found.second:.1%}: "
        f"{100 * found.top1:+.1f} points, {told} ({runs})"
    )


def counted(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def per_class(pair: Pair, first: str, second: str) -> str:
    """The classes that differ most, with intervals of their own: of many classes one in twenty leaves 0 out by luck."""
    table = pair.per_class()
    spec = prepared_spec(pair.first[0]) or bundled_spec(pair.first[0])  # of the store that both were evaluated on
    order = table["top1"].abs().sort_values(ascending=False, kind="stable").index[:CLASSES_SHOWN]
    lines = []
    for row in table.loc[order.sort_values()].to_dict("records"):
        found = Difference(**{name: row[name] for name in Difference.__dataclass_fields__})
        between = "-" if np.isnan(found.low) else f"({100 * found.low:+.0f} to {100 * found.high:+.0f})"
        scores = [f"{100 * found.first:.0f}", f"{100 * found.second:.0f}", f"{100 * found.top1:+.0f}"]
        name = spec.class_names[row["label"]] if spec is not None else str(row["label"])
        lines.append([clean(name), row["videos"], *scores, between])
    head = ("class", "test videos", f"{first} %", f"{second} %", "difference", "95 %")
    left = len(table) - len(lines)
    note = f"\n... and {left} classes that differ less" if left else ""
    return (
        tabulate(lines, head, disable_numparse=True) + note + "\nOf many classes, one interval in twenty leaves out 0 by luck."
    )


def differing(pair: Pair, submissions: Path) -> dict[str, tuple[str, str]]:
    """What the records and, where they are at hand, the manifests say differently."""
    sides = [told(found, submissions) for found in (pair.first, pair.second)]
    names = dict.fromkeys([*sides[0], *sides[1]])
    both = {name: (sides[0].get(name, "-"), sides[1].get(name, "-")) for name in names}
    return {name: values for name, values in both.items() if values[0] != values[1]}


def told(found: Sequence[Evaluated], submissions: Path) -> dict[str, str]:
    """By name, every value that records and manifests of a method have, as text."""
    records = [each.record for each in found]
    values = {name: spoken(getattr(record, name) for record in records) for name in FIELDS}
    values |= {name: spoken(getattr(record.environment, name) for record in records) for name in PLACES}
    manifests = [manifest for each in found if (manifest := manifest_of(each, submissions)) is not None]
    if manifests:
        values |= {name: spoken(getattr(manifest, name) for manifest in manifests) for name in OF_MANIFEST}
        keys = sorted({key for manifest in manifests for key in manifest.config})
        values |= {f"config {key}": spoken(manifest.config.get(key, "-") for manifest in manifests) for key in keys}
    return values


def manifest_of(each: Evaluated, submissions: Path) -> Manifest | None:
    """Of the very submission that was evaluated, when it lies in the folder of submissions."""
    record = each.record
    try:
        manifest = read_manifest((submissions / str(record.task) / record.folder).resolve())
    except (ValueError, OSError):
        return None
    return manifest if manifest.sha256 == record.submission_sha256 else None


def spoken(values: Iterable[object]) -> str:
    """Each value once, in order."""
    known = [value for value in values if value is not None and value != ""]
    texts = sorted({f"{value:,}" if type(value) is int else str(value) for value in known}) or ["-"]
    return ", ".join(texts)[:200]
