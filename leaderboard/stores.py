"""Which prepared stores hold the same videos though their bytes differ, so that their records can share tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from vddbench.data.fingerprint import near
from vddbench.records.record import Record
from vddbench.spec import Fingerprint, Task

Families = dict[tuple[str, str], str]  # (dataset, digest) -> digest of the store that stands for it


def families(records: Sequence[Record]) -> Families:
    """The store of most submissions stands for those near to it; then, of the others, that of most, and so on. Of equally many
    the one evaluated first. One record names a store's fingerprint as well as another: that of most submissions holds."""
    votes: dict[tuple[str, str], dict[Fingerprint, set[str]]] = defaultdict(lambda: defaultdict(set))
    submissions: dict[tuple[str, str], set[str]] = defaultdict(set)
    for record in sorted(records, key=lambda each: each.date):
        store = Task.parse(record.task).dataset, record.store_digest
        submissions[store].add(record.submission_sha256)
        if record.store_fingerprint is not None:
            votes[store][record.store_fingerprint].add(record.submission_sha256)
    heads: dict[str, list[tuple[str, Fingerprint | None]]] = defaultdict(list)
    found: Families = {}
    for dataset, digest in sorted(submissions, key=lambda store: -len(submissions[store])):
        named = votes.get((dataset, digest), {})
        mine = max(named, key=lambda each: len(named[each])) if named else None
        head = next((other for other, theirs in heads[dataset] if near(mine, theirs)), None)
        found[dataset, digest] = head or digest
        if head is None:
            heads[dataset].append((digest, mine))
    return found


def several_stores(records: Iterable[Record]) -> Iterator[str]:
    """A line for each dataset whose records are of several stores that share tables."""
    sharing: dict[tuple[str, str], set[str]] = defaultdict(set)
    for (dataset, digest), head in families(list(records)).items():
        sharing[dataset, head].add(digest)
    for (dataset, _), digests in sharing.items():
        if len(digests) > 1:
            names = ", ".join(sorted(each[:8] for each in digests))
            yield (
                f"{dataset}: records of {len(digests)} prepared stores ({names}) share tables: the same videos, decoded by "
                "other versions"
            )
