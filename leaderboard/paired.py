"""Is one method better than another? The difference of their top-1 on the same test videos, with its interval. No torch.

Hierarchical bootstrap: test videos are drawn again (whole groups where there are groups) jointly for both methods, so what
makes a video hard cancels; and, of each method by itself, its distillation seeds and in each its student seeds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from leaderboard.rank import MIN_SEEDS, check_unmixed, load, name, tables_of
from vddbench import lookup
from vddbench.progress import say
from vddbench.records import read_record
from vddbench.spec import Record

DRAWS = 4000
SEED = 0  # the same records, the same interval

Hits = list[np.ndarray]  # of each distillation seed [students, videos]: was the video's answer right?


@dataclass(frozen=True, kw_only=True)
class Difference:
    """First method minus second, of top-1: a mean over distillations of means over students. `low` and `high` bound its 95 %
    interval: NaN where students are too few, or the videos of one group, so that there is nothing to tell luck from."""

    top1: float
    low: float
    high: float
    first: float
    second: float
    runs: tuple[int, int]  # trained students of each
    sets: tuple[int, int]  # distillations of each


def difference(first: Hits, second: Hits, groups: np.ndarray) -> Difference:
    """groups: [V] str, "" for a video that stands alone.

    The bootstrap's deviations of n seeds or groups are too small by sqrt((n - 1) / n), which is put right. With one
    distillation seed the interval is of that set alone: nothing says how others would vary. In simulations of equal methods
    (200 each) 0 was outside in 0.5 to 7 % with 3 to 10 students a method and 100 to 400 videos; in 12 % with 3 students and
    1,800 videos whose noise is all in the students.
    """
    rng = np.random.default_rng(SEED)
    weights = _video_weights(groups, rng)
    drawn = [_drawn(hits, weights, rng) for hits in (first, second)]
    low, high = np.percentile(drawn[0] - drawn[1], [2.5, 97.5])
    means = [_mean(hits) for hits in (first, second)]
    runs, sets = (sum(map(len, first)), sum(map(len, second))), (len(first), len(second))
    if min(runs) < MIN_SEEDS or min(len(hits) for hits in (*first, *second)) < 2 or len(set(_clusters(groups))) < 2:
        low = high = np.nan
    return Difference(
        top1=means[0] - means[1],
        low=float(low),
        high=float(high),
        first=means[0],
        second=means[1],
        runs=runs,
        sets=sets,
    )


def _mean(hits: Hits) -> float:
    return float(np.mean([of_seed.mean() for of_seed in hits]))


def _video_weights(groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """[DRAWS, V], rows sum to 1: how often each video is in a draw. Groups move together."""
    names, cluster = np.unique(_clusters(groups), return_inverse=True)
    n = len(names)
    weights = rng.multinomial(n, np.full(n, 1 / n), size=DRAWS)[:, cluster].astype(float)
    weights /= weights.sum(1, keepdims=True)
    mean = 1 / len(groups)
    return np.asarray(mean + (weights - mean) * (np.sqrt(n / (n - 1)) if n > 1 else 0))


def _clusters(groups: np.ndarray) -> list[str]:
    return [f"group {group}" if group else f"video {i}" for i, group in enumerate(groups)]


def _drawn(hits: Hits, weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """[DRAWS] scores of a method: its seeds drawn again, on the videos of each draw."""
    of_seeds = [_mean_of_redrawn(weights @ of_seed.T, rng) for of_seed in hits]
    return _mean_of_redrawn(np.stack(of_seeds, axis=1), rng)


def _mean_of_redrawn(scores: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """[DRAWS, n] scores of n seeds -> [DRAWS] means of n of them with replacement, their deviations of full size."""
    n, mean = scores.shape[1], np.asarray(scores.mean(1))
    picked = np.take_along_axis(scores, rng.integers(n, size=scores.shape), axis=1).mean(1)
    return np.asarray(mean + (picked - mean) * (np.sqrt(n / (n - 1)) if n > 1 else 0))


# --- records ---------------------------------------------------------------------------------------------------------


def compare(
    roots: Sequence[Path], first: str, second: str, task: str | None = None, student: str | None = None
) -> pd.DataFrame:
    """A row for each task, student and track in which both methods have records: `first` minus `second`.

    Raises LookupError for a task, student or method without records or when methods meet nowhere, ValueError for records of
    different stores, protocols or recipes, and for two sets of one distillation seed.
    """
    cells: dict[tuple[str, str, str], dict[str, list[tuple[Record, Path]]]] = defaultdict(lambda: defaultdict(list))
    loaded = load(roots)
    for refused in loaded.refused:
        say(f"left out: {refused}")
    tables_of(loaded.records, task, student)  # says which tasks and students there are
    for record, path in zip(loaded.records, loaded.paths, strict=True):
        if task in {None, record.task} and student in {None, record.student}:
            cells[record.task, record.student, record.track][record.method].append((record, path))
    known = {method for methods in cells.values() for method in methods}
    for method in (first, second):
        if method not in known:
            raise LookupError(lookup.unknown("method with records", method, sorted(known)))
    common = {key: methods for key, methods in sorted(cells.items()) if {first, second} <= methods.keys()}
    if not common:
        raise LookupError(f"{first} and {second} have no task, student and track in common; evaluate both on one task")
    rows = []
    for (of_task, of_student, track), methods in common.items():
        check_unmixed(record for method in (first, second) for record, _ in methods[method])
        (ours, groups), (others, _) = _hits(methods[first]), _hits(methods[second])
        found = difference(ours, others, groups)
        rows.append({"task": of_task, "student": of_student, "track": track, **vars(found)})
    return pd.DataFrame(rows)


def _hits(records: Sequence[tuple[Record, Path]]) -> tuple[Hits, np.ndarray]:
    """Of each distillation, and the groups [V] of the test videos, which all records of a store share."""
    by_set: dict[int, list[np.ndarray]] = defaultdict(list)
    first: dict[int, Record] = {}
    for record, path in sorted(records, key=lambda found: (found[0].distill_seed, found[0].seed)):
        other = first.setdefault(record.distill_seed, record)
        if other.submission_sha256 != record.submission_sha256:
            raise ValueError(
                f"two sets are {record.method} of distillation seed {record.distill_seed}: {name(other)} and {name(record)}; "
                "compare from a folder with one of them"
            )
        predictions = read_record(path)[1]
        by_set[record.distill_seed].append(predictions.top5[:, 0] == predictions.label)
    return [np.array(hits, float) for hits in by_set.values()], predictions.group


def show(roots: Sequence[Path], first: str, second: str, task: str | None, student: str | None) -> None:
    """Prints what `compare` finds."""
    for row in compare(roots, first, second, task, student).to_dict("records"):
        interval = f"95 % from {100 * row['low']:+.1f} to {100 * row['high']:+.1f}"
        if np.isnan(row["low"]):
            interval = f"no interval: that takes {MIN_SEEDS} students of each, 2 of each distillation, 2 groups of test videos"
        apart = "; more" if row["low"] > 0 else "; less" if row["high"] < 0 else "; not told apart"
        runs = " and ".join(f"{n} students of {sets} distillations" for n, sets in zip(row["runs"], row["sets"], strict=True))
        print(
            f"{row['task']} · student {row['student']} · {row['track']} labels: {first} {row['first']:.1%}, "
            f"{second} {row['second']:.1%}: {100 * row['top1']:+.1f} points, {interval}"
            f"{'' if np.isnan(row['low']) else apart} ({runs})"
        )
