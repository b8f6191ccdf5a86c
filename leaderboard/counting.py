"""Which students count for an entry, so that nobody can pick the favourable ones.

* Verified students count if a payload has at least MIN_SEEDS of them: a maintainer trained them on seeds that nobody can choose
  (records/fresh_seeds.py). Otherwise the claimed students count.
* Claimed seeds must be 0, 1, ..., n-1.
* A payload counts once, under whatever distillation seeds it was handed in, and so do near-copies of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from vddbench.leaderboard.entry import MIN_SEEDS, Entry
from vddbench.leaderboard.evidence import Evaluated

SAME_ANSWERS = 0.8  # share of equal answers, on test videos that one of two payloads gets wrong; docs/ranking.md
MIN_WRONG = 20  # such videos that are needed to compare payloads
SAMPLE, ALIKE = 200, 0.75  # videos compared first, and the share of equal answers from which all are compared


class Payload(NamedTuple):
    """The students of one payload in one table, sorted by seed."""

    claimed: tuple[Evaluated, ...]
    verified: tuple[Evaluated, ...]

    @property
    def is_verified(self) -> bool:
        return len(self.verified) >= MIN_SEEDS

    @property
    def counted(self) -> tuple[Evaluated, ...]:
        """The students by which tables rank the payload."""
        return self.verified if self.is_verified or not self.claimed else self.claimed


def payload_of(evaluated: Iterable[Evaluated]) -> Payload:
    """Sorts the records of one payload and student by who made them."""
    parts: dict[bool, list[Evaluated]] = {False: [], True: []}
    for one in sorted(evaluated, key=lambda one: one.record.seed):
        parts[one.is_verified].append(one)
    return Payload(tuple(parts[False]), tuple(parts[True]))


def near_copies(first: Payload, second: Payload) -> bool:
    """Whether claimed students of the same seeds give the same answers where one of them is wrong.

    Answers that are right are no evidence: two good methods agree on them.
    """
    if first.counted[0].record.submission_sha256 == second.counted[0].record.submission_sha256:
        return True
    others = {one.record.seed: one for one in second.claimed}
    wrong = equal = 0
    for one in first.claimed:
        other = others.get(one.record.seed)
        if other is None or not len(one.first) or len(one.first) != len(other.first):
            continue
        either = ~(one.hits & other.hits)
        wrong += int(either.sum())
        equal += int((one.first == other.first)[either].sum())
    return wrong >= MIN_WRONG and equal >= SAME_ANSWERS * wrong


def families(payloads: Sequence[Payload]) -> list[int]:
    """For each payload the index of the first one that it is a near-copy of, or its own index."""
    heads: list[int] = []
    for i, payload in enumerate(payloads):
        heads.append(next((j for j in dict.fromkeys(heads) if near_copies(payloads[j], payload)), i))
    return heads


class Contribution(NamedTuple):
    """An entry and its payloads, those that are left out included."""

    entry: Entry
    payloads: list[Payload]


def entries(evaluated: Iterable[Evaluated]) -> list[Entry]:
    """The methods of each task, student and track. A method with two payloads of one distillation seed becomes one entry per
    payload. To rank a division, give its records only (divisions.py).

    Of near-copies among the distillations of a method only the first counts. Payloads without verified students are left out
    if others have them. An entry that is a near-copy of an earlier one of the same owner gets a note and no rank.
    """
    methods: dict[tuple[object, ...], dict[tuple[int, str], list[Evaluated]]] = defaultdict(lambda: defaultdict(list))
    for one in evaluated:
        r = one.record
        methods[r.task, r.student, r.track, r.method][r.distill_seed, r.submission_sha256].append(one)
    tables: dict[tuple[str, str, str], list[Contribution]] = defaultdict(list)
    for sets in methods.values():
        for contribution in of_method({key: payload_of(records) for key, records in sorted(sets.items())}):
            tables[contribution.entry.contest].append(contribution)
    return [entry for table in tables.values() for entry in without_copies(table)]


def of_method(sets: Mapping[tuple[int, str], Payload]) -> list[Contribution]:
    """One entry, or one for each payload if two payloads claim one distillation seed. sets: by distillation seed and sha256."""
    payloads = list(sets.values())
    heads = dict.fromkeys(families(payloads))
    if len({seed for i, (seed, _) in enumerate(sets) if i in heads}) < len(heads):
        return [Contribution(Entry((payloads[i].counted,)), [payloads[i]]) for i in heads]
    distinct = [payloads[i] for i in heads]
    verified = [payload for payload in distinct if payload.is_verified]
    enough = [payload for payload in distinct if len(payload.counted) >= MIN_SEEDS]  # one student could be lucky
    chosen = tuple(payload.counted for payload in verified or enough or distinct)
    return [Contribution(Entry(chosen, repeated=len(payloads) - len(distinct)), payloads)]


def without_copies(table: Sequence[Contribution]) -> list[Entry]:
    """The entries of a table; those with a near-copy of an earlier entry's payload by the same owner name that entry."""
    by_date = sorted(table, key=lambda one: (min(record.date for record in one.entry.records), one.entry.one.method))
    rows = [(i, p) for i, one in enumerate(by_date) if not one.entry.one.trained_on for p in one.payloads]
    copy_of: dict[int, str] = {}
    for (i, first), (j, second) in likely_copies(rows):
        if i not in copy_of and j not in copy_of and near_copies(first, second):
            copy_of[j] = by_date[i].entry.one.method
    return [replace(one.entry, copy_of=copy_of.get(i, "")) for i, one in enumerate(by_date)]


Row = tuple[int, Payload]  # the number of an entry, and one of its payloads


def likely_copies(rows: Sequence[Row]) -> Iterator[tuple[Row, Row]]:
    """Pairs of payloads of different entries of one owner whose first students answer a sample of the videos alike.

    Comparing all answers of 1,000 entries would take half a minute.
    """
    owners: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row[1].claimed and len(row[1].claimed[0].first):
            owners[row[1].claimed[0].owner].append(row)
    for of_owner in owners.values():
        answers = np.stack([payload.claimed[0].first for _, payload in of_owner])
        sample = np.ascontiguousarray(answers[:, :: max(1, answers.shape[1] // SAMPLE)])
        ones = np.ones(sample.shape[1], np.float32)
        for k, row in enumerate(of_owner):
            alike = (sample[k + 1 :] == sample[k]).astype(np.float32) @ ones >= ALIKE * len(ones)  # faster than mean()
            yield from ((row, of_owner[k + 1 + m]) for m in np.flatnonzero(alike) if of_owner[k + 1 + m][0] != row[0])
