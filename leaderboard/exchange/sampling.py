"""Which claimed students are trained again, and whether all re-runs together bear the claims out.

The claims' own spread alone must not decide: who claims two students of 12 % and 100 % would be right with every re-run.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import stdtrit

from vddbench.evaluation.evaluate import Scored
from vddbench.leaderboard.exchange.rerun import One, begin
from vddbench.leaderboard.exchange.verdict import Compared, reviewed
from vddbench.leaderboard.reviews import is_inside, predicted, rounded_spread, students_of
from vddbench.records.files import path_of
from vddbench.system.files import replacing
from vddbench.system.progress import say

FEWEST = 3  # students whose spread says something
WIDEST = 0.10  # half of a prediction interval: claims that spread farther are all run again
UNSEEN = 0.15  # of the mean: re-runs that would let more pass verify nothing (half of the students 30 points higher)
ROOM = 2.5  # by which the bound of re-runs may turn out larger than by the claims' spread
MISS_EACH, MISS_MEAN = 0.01, 0.04  # of honest submissions: a re-run is elsewhere; their mean is, which tells more of cheats
DRAWN = "drawn.json"


@dataclass(frozen=True)
class Claimed:
    """A submission that was checked, the new records of it, and all: those whose scores say where another is due."""

    scored: Scored
    new: list[One]
    known: list[One]
    reruns: Collection[str] = ()  # sha256 of those among them that are re-runs of others

    def scores(self, student: str) -> list[float]:
        of_student = {each.digest: each.record for each in self.known if each.record.student == student}
        found = students_of(of_student, self.reruns)
        return [score for by_seed in found.values() for score in by_seed.values()]


@dataclass(frozen=True)
class Judged:
    """The re-runs of one network beside what was claimed of them."""

    outside: tuple[int, ...]  # which of them
    difference: float  # mean of claimed - re-run
    bound: float | None  # of honest differences; None: too few re-runs tell nothing of their spread

    @property
    def tells(self) -> bool:
        """Would claims that are far off be seen?"""
        return self.bound is not None and self.bound <= UNSEEN

    @property
    def holds(self) -> bool:
        return not self.outside and self.tells and self.bound is not None and abs(self.difference) <= self.bound


def judged(scores: Sequence[float], pairs: Sequence[tuple[float, float]], num_test: int, identical: Sequence[bool]) -> Judged:
    """Each re-run is due in the prediction interval of all claims, for all n of them at once (MISS_EACH / n each). And the mean
    of claimed - re-run is due at 0: its standard error is that of two means of n, sd * sqrt(2 / n), with the sd of the re-runs,
    which the claimant has no hand in. A cheat's spread widens the interval; it moves the mean as well.

    scores: of all claimed students; pairs: (claimed, re-run) of those that were trained again.
    """
    n = len(pairs)
    due = predicted(scores, num_test, MISS_EACH / n)
    again = [rerun for _, rerun in pairs]
    outside = tuple(i for i in range(n) if is_inside(due, again[i], identical[i]) is False)
    difference = float(np.mean([claimed - rerun for claimed, rerun in pairs]))
    if all(identical):
        return Judged(outside, difference, 0.0)
    if n < FEWEST:
        return Judged(outside, difference, None)
    return Judged(outside, difference, bound_of(rounded_spread(again, num_test), n))


def bound_of(spread: float, n: int) -> float:
    """How far apart two means of n students are, at most, in all but MISS_MEAN of the cases."""
    return float(stdtrit(n - 1, 1 - MISS_MEAN / 2) * spread * np.sqrt(2 / n))


def judged_by_student(compared: Sequence[Compared]) -> dict[str, tuple[Judged, list[Compared]]]:
    of_student: dict[str, list[Compared]] = defaultdict(list)
    for each in compared:
        of_student[each.before.record.student].append(each)
    return {student: (_judged(several), several) for student, several in of_student.items()}


def _judged(several: Sequence[Compared]) -> Judged:
    pairs = [(each.before.record.top1, each.after.record.top1) for each in several]
    return judged(several[0].scores, pairs, several[0].before.record.num_test, [each.identical for each in several])


def how_many(num_new: int, scores: Sequence[float], num_test: int, count: int) -> tuple[int, str]:
    """(of a network's new students so many are trained again, why more than `count`): so many that a wrong mean shows, all
    where the claims tell too little of themselves."""
    due = predicted(scores, num_test)
    if due is None or due.students < FEWEST:
        return num_new, f"of {len(scores)} claimed students nobody can tell how far they spread"
    if (half := (due.high - due.low) / 2) > WIDEST:
        return num_new, f"the claimed students spread so far that another is due within {half:.0%} of their mean"
    spread = rounded_spread(scores, num_test)
    most = max(num_new, FEWEST)
    enough = next((n for n in range(FEWEST, most) if bound_of(spread, n) * ROOM <= UNSEEN), most)
    if min(enough, num_new) > count:
        return min(enough, num_new), f"they spread so far that fewer would not tell claims that are {UNSEEN:.0%} off"
    return min(count, num_new), ""


def drawn(claimed: Claimed, count: int, me: str, results: Path) -> list[One]:
    """Records by lot: `count` of each network or all of its new ones, and of main's where these are fewer than FEWEST.

    Those that were drawn before stay, so that nobody draws until it fits; of what was claimed since, others are drawn. Noted
    before anything is trained.
    """
    chosen = []
    for student in sorted({each.record.student for each in claimed.new}):
        new = _first_of_seeds(each for each in claimed.new if each.record.student == student)
        scores = claimed.scores(student)
        want, why = how_many(len(new), scores, new[0].record.num_test, count)
        note = path_of(results, new[0].record).with_name(DRAWN)
        found = _noted(new, want, note, lambda each: reviewed(each, "verified", me, results) is not None)
        if len(found) < FEWEST:
            seeds = {each.record.seed for each in new}
            more = [each for each in claimed.known if each.record.student == student and each.record.seed not in seeds]
            old = _first_of_seeds(more)
            found += _noted(old, min(FEWEST - len(found), len(old)), note.with_name(f"main.{DRAWN}"), lambda _: False)
        if why and new:
            say(f"{student}: {want} of {len(new)} new students are trained again: {why}")
        if len(found) < FEWEST:
            say(f"{student}: {len(found)} re-runs count only when they are identical to the bit; else {FEWEST} are needed")
        chosen += found
    for each in chosen:
        begin(results, each)
    return sorted(chosen, key=lambda each: each.name)


def _first_of_seeds(records: Iterable[One]) -> list[One]:
    """Of several records of a seed the earliest."""
    first: dict[int, One] = {}
    for each in sorted(records, key=lambda each: each.record.date):
        first.setdefault(each.record.seed, each)
    return list(first.values())


def _noted(records: Sequence[One], want: int, note: Path, is_done: Callable[[One], bool]) -> list[One]:
    """`want` of the records by lot, beside those that the note says were drawn before from others than these."""
    told: dict[str, list[str]] = json.loads(note.read_bytes()) if note.is_file() else {"of": [], "drawn": []}
    before = [each for each in records if each.digest in told["drawn"] or is_done(each)]
    unseen = [each for each in records if each.digest not in told["of"] and each not in before]
    rest = [each for each in records if each not in before and each not in unseen]
    lot = random.SystemRandom()
    more = lot.sample(unseen, min(want, len(unseen)) if told["of"] else min(max(want - len(before), 0), len(unseen)))
    more += lot.sample(rest, min(max(want - len(before) - len(more), 0), len(rest)))
    found = [*before, *more]
    told = {
        "of": sorted({*told["of"], *(each.digest for each in records)}),
        "drawn": sorted({*told["drawn"], *(each.digest for each in found)}),
    }
    with replacing(note) as file:
        file.write(json.dumps(told).encode())
    return found
