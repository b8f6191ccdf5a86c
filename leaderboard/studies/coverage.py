"""Do intervals contain the truth, do tables separate equal entries, is the best score right once corrected, does an entry
compare rightly with the codec curve, does `power` keep its promise? In worlds of worlds.py.

The worlds include those in which intervals of an earlier version fell short: groups of unequal size, classes of unequal
difficulty, two distillations, students that sometimes fail, and tables of many equal entries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from vddbench.leaderboard.bootstrap import Drawn, draw, score_difference
from vddbench.leaderboard.comparisons import compared
from vddbench.leaderboard.frontier import Sized, curve_of
from vddbench.leaderboard.power import detectable, spread_of_hits
from vddbench.leaderboard.rank import places
from vddbench.leaderboard.studies.worlds import Draw, Method, World, by_class, grouped, plain
from vddbench.leaderboard.videos import drawn_videos
from vddbench.leaderboard.winner import corrected
from vddbench.submissions.method_names import CODEC_METHOD
from vddbench.system.files import write_whole
from vddbench.system.progress import bar

DRAWS = 500  # for ranks
HALVING = (150, 80, 45, 25, 14, 8, 5, 3, 2, 1)
BY_RANK = tuple(max(1, round(150 / rank)) for rank in range(1, 31))
VIDEOS, MINIUCF = plain(400), by_class(50, 7, 5, of_class=1, of_group=0.3, own_group=0.2)


class Setting(NamedTuple):
    """A world and how many distillations and students a method has. Estimated: a set, or the method behind the sets."""

    world: World
    sets: int
    students: int
    of_method: bool = False
    skill: float = 0.0


SCORES = {
    "200 videos, 5 students": Setting(plain(200), 1, 5),
    "7 groups of 20, 3 students": Setting(grouped([20] * 7), 1, 3),
    "4 groups of 40, 3 students": Setting(grouped([40] * 4), 1, 3),
    "10 speakers of 10, 3 students": Setting(grouped([10] * 10), 1, 3),
    "10 groups of 150 to 1, 5 students": Setting(grouped(list(HALVING)), 1, 5),
    "30 groups of 150 / rank, 5 students": Setting(grouped(list(BY_RANK)), 1, 5),
    "50 unequal classes of 7 groups of 5, 5 students": Setting(
        by_class(50, 7, 5, of_class=1, of_group=0.3, own_group=0.2), 1, 5
    ),
    "8 unequal classes of 50 videos, 3 students": Setting(by_class(8, 50, 1, of_class=1.5), 1, 3),
    "near 0 %, 3 students": Setting(VIDEOS, 1, 3, skill=-3.6),
    "near 100 %, 3 students": Setting(VIDEOS, 1, 3, skill=3.6),
    "3 % errors on 100 videos, students answer alike, 5 students": Setting(
        replace(plain(100), ease=5.0, own=5.0), 1, 5, skill=13.45
    ),
    "students vary little, 3 students": Setting(replace(VIDEOS, of_student=0.05), 1, 3),
    "students vary much, 3 students": Setting(replace(VIDEOS, of_student=0.3), 1, 3),
    "heavy tails, 3 students": Setting(replace(VIDEOS, heavy=True), 1, 3),
    "10 % of students fail, 3 students": Setting(replace(VIDEOS, collapse=0.1), 1, 3),
    "10 % of students fail, 5 students": Setting(replace(VIDEOS, collapse=0.1), 1, 5),
    "2 distillations of 3 students": Setting(replace(VIDEOS, of_set=0.2), 2, 3, of_method=True),
    "2 distillations of 5 students": Setting(replace(VIDEOS, of_set=0.2), 2, 5, of_method=True),
    "3 distillations of 3 students": Setting(replace(VIDEOS, of_set=0.2), 3, 3, of_method=True),
    "5 distillations of 3 students": Setting(replace(VIDEOS, of_set=0.2), 5, 3, of_method=True),
    "1 distillation of 5 students, about this set": Setting(replace(VIDEOS, of_set=0.2), 1, 5),
    "1 distillation of 5 students, about the method": Setting(replace(VIDEOS, of_set=0.2), 1, 5, of_method=True),
}
TABLES = {  # and the skills of the entries
    "20 equal, 3 students": (Setting(VIDEOS, 1, 3), [0.0] * 20),
    "20 equal, 3 students, 10 % fail": (Setting(replace(VIDEOS, collapse=0.1), 1, 3), [0.0] * 20),
    "10 equal and 10 equal 15 points below": (Setting(VIDEOS, 1, 3), [0.0] * 10 + [-0.55] * 10),
    "20 equal of 2 distillations of 3": (Setting(replace(VIDEOS, of_set=0.15), 2, 3, of_method=True), [0.0] * 20),
    "20 equal of 1 distillation, about the methods": (Setting(replace(VIDEOS, of_set=0.15), 1, 3, of_method=True), [0.0] * 20),
    "20 equal of 1 distillation, about the sets": (Setting(replace(VIDEOS, of_set=0.15), 1, 3), [0.0] * 20),
    "2 equal, 3 students": (Setting(VIDEOS, 1, 3), [0.0] * 2),
    "5 equal, 5 students": (Setting(VIDEOS, 1, 5), [0.0] * 5),
    "1 leads 19 equal by 4 points, 3 students": (Setting(VIDEOS, 1, 3), [0.15] + [0.0] * 19),
    "1 leads 19 equal by 8 points, 3 students": (Setting(VIDEOS, 1, 3), [0.29] + [0.0] * 19),
    "1 leads 19 equal by 25 points, 3 students": (Setting(VIDEOS, 1, 3), [0.95] + [0.0] * 19),
    "20 skills of normal spread, 6 points, 3 students": (
        Setting(VIDEOS, 1, 3), (0.22 * np.random.default_rng(5).standard_normal(20)).tolist(),
    ),
    "12 equal, 10 speakers of 10, 3 students": (Setting(grouped([10] * 10), 1, 3), [0.0] * 12),
    "12 equal, 50 classes of 7 groups of 5, 5 students": (Setting(MINIUCF, 1, 5), [0.0] * 12),
    "20 equal of 5 distillations of 3": (Setting(replace(VIDEOS, of_set=0.15), 5, 3, of_method=True), [0.0] * 20),
}  # fmt: skip
POWERS = {
    "400 videos, 3 students": Setting(VIDEOS, 1, 3),
    "400 videos, 5 students": Setting(VIDEOS, 1, 5),
    "10 speakers of 10, 3 students": Setting(grouped([10] * 10), 1, 3),
    "50 classes of 7 groups of 5, 5 students": Setting(MINIUCF, 1, 5),
    "10 % of students fail, 3 students": Setting(replace(VIDEOS, collapse=0.1), 1, 3),
}


CODEC_SKILLS = (-0.6, 0.0, 0.3)  # of three sizes, each ten times the one before
CURVES = {  # and the skills of the sizes
    "400 videos, 3 students": (Setting(VIDEOS, 1, 3), CODEC_SKILLS),
    "10 speakers of 10, 3 students": (Setting(grouped([10] * 10), 1, 3), CODEC_SKILLS),
    "50 classes of 7 groups of 5, 5 students": (Setting(MINIUCF, 1, 5), CODEC_SKILLS),
    "3 distillations of 3 students": (Setting(replace(VIDEOS, of_set=0.15), 3, 3, of_method=True), CODEC_SKILLS),
    "three equal sizes, 400 videos, 3 students": (Setting(VIDEOS, 1, 3), (0.0, 0.0, 0.0)),
    "the largest is worst, 400 videos, 3 students": (Setting(VIDEOS, 1, 3), (-0.6, 0.3, -0.3)),
}


def truth(method: Method, setting: Setting) -> float:
    return method.true if setting.of_method else method.true_of_sets


def share(values: Sequence[float]) -> float:
    return float(np.mean(values))


def of_score(setting: Setting, repetitions: int, rng: np.random.Generator) -> dict[str, float]:
    """How often the intervals of a score and of a difference contain the truth, and the median width over the ideal one."""
    covered, apart, widths, errors = [], [], [], []
    for i in range(repetitions):
        videos_drawn = Draw(setting.world, rng)
        videos = drawn_videos(setting.world.groups, setting.world.labels, f"{i}", draws=0)
        one, two = (videos_drawn.method(setting.skill, setting.sets, setting.students) for _ in range(2))
        first, second = draw(one.hits, videos, "one"), draw(two.hits, videos, "two")
        low, high = first.interval
        result = score_difference(first, second)
        covered.append(low <= truth(one, setting) <= high)
        apart.append(result.low <= truth(one, setting) - truth(two, setting) <= result.high)
        widths.append(high - low)
        errors.append(first.score - truth(one, setting))
    ideal = 2 * 1.96 * float(np.sqrt(np.mean(np.square(errors))))
    return {"score": share(covered), "difference": share(apart), "width": float(np.median(widths)) / ideal}


def of_table(setting: Setting, skills: list[float], repetitions: int, rng: np.random.Generator) -> dict[str, float]:
    """How often a table separates equal entries, and how often ranks, the confidence set of the best and the corrected best
    score hold."""
    split, holds, best, in_set, size = [], [], [], [], []
    winners = []
    for i in range(repetitions):
        videos_drawn = Draw(setting.world, rng)
        videos = drawn_videos(setting.world.groups, setting.world.labels, f"{i}", DRAWS)
        methods = [videos_drawn.method(skill, setting.sets, setting.students) for skill in skills]
        entries = [(draw(method.hits, videos, f"{k}"), truth(method, setting)) for k, method in enumerate(methods)]
        entries.sort(key=lambda entry: -entry[0].score)
        true = np.array([one[1] for one in entries]).round(9)
        found = places([one[0].scores for one in entries], compared([one[0] for one in entries]))
        ranks = np.array([place.rank for place in found])
        true_rank = 1 + (true[None] > true[:, None]).sum(1)
        split.append(any(len(set(ranks[true == value])) > 1 for value in set(true)))
        holds.append(np.mean([place.rank_low <= rank <= place.rank_high for place, rank in zip(found, true_rank, strict=True)]))
        best.append(np.mean(ranks[true_rank == 1] == 1))
        chosen = np.array([place.may_be_best for place in found])
        in_set.append(chosen[true_rank == 1].mean())
        size.append(chosen.sum())
        winners.append(of_winner([one[0] for one in entries], chosen.tolist(), entries[0][1]))
    return {
        **{name: share([one[name] for one in winners]) for name in winners[0]},
        "equals_split": share(split), "rank_interval": share(holds), "best_has_rank_1": share(best),
        "best_in_set": share(in_set), "set_size": float(np.median(size)),
    }  # fmt: skip


def of_winner(ranked: Sequence[Drawn], may_be_best: Sequence[bool], true: float) -> dict[str, float]:
    """Of a table's best entry, raw and corrected: does the interval contain its true score, and the error in points."""
    raw, found = ranked[0], corrected(ranked, may_be_best)
    return {
        "raw_best_holds": raw.interval[0] <= true <= raw.interval[1],
        "best_holds": found.low <= true <= found.high,
        "raw_best_bias": 100 * (raw.score - true),
        "best_bias": 100 * (found.score - true),
    }


def of_curve(setting: Setting, skills: Sequence[float], repetitions: int, rng: np.random.Generator) -> dict[str, float]:
    """How often the codec curve's interval between its points holds, and that of an entry's difference to it."""
    holds, over = [], []
    sizes = [10_000, 100_000, 1_000_000]
    for i in range(repetitions):
        videos_drawn = Draw(setting.world, rng)
        videos = drawn_videos(setting.world.groups, setting.world.labels, f"{i}", draws=0)
        methods = [videos_drawn.method(skill, setting.sets, setting.students) for skill in skills]
        drawn = [draw(method.hits, videos, f"{k}") for k, method in enumerate(methods)]
        points = [Sized(CODEC_METHOD if k == 2 else f"{CODEC_METHOD}_{k}", size, drawn[k]) for k, size in enumerate(sizes)]
        size = int(10 ** rng.uniform(4, 6))
        curve = curve_of(points)
        at = None if curve is None else curve.at(size)
        assert at is not None
        true = true_curve(size, sizes, [truth(method, setting) for method in methods])
        entry = videos_drawn.method(0.0, setting.sets, setting.students)
        difference = score_difference(draw(entry.hits, videos, "entry"), at)
        holds.append(at.interval[0] <= true <= at.interval[1])
        over.append(difference.low <= truth(entry, setting) - true <= difference.high)
    return {"curve": share(holds), "over_curve": share(over)}


def true_curve(size: int, sizes: Sequence[int], scores: Sequence[float]) -> float:
    """The curve through true scores: sizes that are no better than a smaller one are left out."""
    points = [k for k in range(len(sizes)) if k == 0 or scores[k] > max(scores[:k])]
    return float(np.interp(np.log(size), [np.log(sizes[k]) for k in points], [scores[k] for k in points]))


def skill_above(world: Draw, delta: float) -> float:
    """The skill whose true score is `delta` above that of skill 0, or the largest possible."""
    low, high = 0.0, 10.0
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (middle, high) if world.chance(middle) - world.chance(0.0) < delta else (low, middle)
    return low


def of_power(setting: Setting, repetitions: int, rng: np.random.Generator) -> dict[str, float]:
    """Share of repetitions in which a difference that `power` promises to detect with 80 % is detected.

    The promise comes from a table of five methods, the detection from new ones.
    """
    detected = []
    for i in range(repetitions):
        pilot = Draw(setting.world, rng)
        videos = drawn_videos(setting.world.groups, setting.world.labels, f"{i}", draws=0)
        spread = spread_of_hits([m.hits[0] for m in (pilot.method(0.0, 1, setting.students) for _ in range(5))], videos)
        again = Draw(setting.world, rng)
        skill = skill_above(again, detectable(spread.upper(), setting.students))
        pair = [draw(again.method(s, 1, setting.students).hits, videos, f"{k}") for k, s in enumerate((skill, 0.0))]
        detected.append(score_difference(*pair).low > 0)
    return {"detected": share(detected)}


def coverage(repetitions: int, out: Path, only: str = "") -> pd.DataFrame:
    """Simulates every setting whose name contains `only`, writes a row for each to coverage.csv, and returns these rows.

    With `only`, coverage.csv keeps its other rows. Raises LookupError if no name contains it.
    """
    rows: list[dict[str, object]] = []
    settings = [*SCORES, *TABLES, *CURVES, *POWERS]
    if not any(only in name for name in settings):
        raise LookupError(f"no world has {only!r} in its name; the worlds: {'; '.join(dict.fromkeys(settings))}")
    with bar("coverage", len(settings)) as progress:
        for kind, names in (("score", SCORES), ("table", TABLES), ("curve", CURVES), ("power", POWERS)):
            for name in names:
                rng = np.random.default_rng(0)
                if only in name:
                    if kind == "score":
                        found = of_score(SCORES[name], repetitions, rng)
                    elif kind == "table":
                        found = of_table(*TABLES[name], repetitions, rng)
                    elif kind == "curve":
                        found = of_curve(*CURVES[name], repetitions, rng)
                    else:
                        found = of_power(POWERS[name], repetitions, rng)
                    rows.append({"kind": kind, "world": name, "repetitions": repetitions, **found})
                progress.advance(note=name)
    table = pd.DataFrame(rows).round(4)
    file = out / "coverage.csv"
    old = pd.read_csv(file, dtype=str, keep_default_na=False) if only and file.exists() else pd.DataFrame()
    new = {(row["kind"], row["world"]) for row in rows}
    kept = [row for row in old.to_dict("records") if (row["kind"], row["world"]) not in new]
    write_whole(file, pd.DataFrame([*kept, *table.to_dict("records")]).to_csv(index=False).encode())
    return table
