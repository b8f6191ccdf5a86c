"""What is pinned about built-in datasets: the spec, the numbers of videos and, if it is known, the digest.

All of it is in datasets/NAME.py. `evaluate` and `datasets verify` compare stores with it, `rank` compares records: a store of
other videos cannot take the name of a dataset.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from vddbench import lookup
from vddbench.data.sources.source import FROM
from vddbench.spec import DatasetSpec

if TYPE_CHECKING:  # `rank` needs neither pandas nor a store
    import pandas as pd

    from vddbench.data.store import Store
    from vddbench.records.record import Record


def pinned(name: str) -> Any:
    """The module of a built-in dataset; None for a user's own."""
    return lookup.load("dataset", name) if name in lookup.names("dataset") else None


def check_pinned(store: Store) -> None:
    """Raises ValueError if a built-in dataset's store has another spec, other numbers of videos or another digest."""
    dataset = pinned(store.name)
    if dataset is None:
        return
    check_definition(store, dataset.SPEC)
    check_counts(store, store.spec, store.index)
    if store.digest != getattr(dataset, "DIGEST", store.digest):
        raise ValueError(
            f"store {store.path} is not {store.name}: its digest is {store.digest[:16]}, that of {store.name} is "
            f"{dataset.DIGEST[:16]}; run `vddbench prepare {store.name} --force`"
        )


def check_definition(store: Store, spec: DatasetSpec) -> None:
    """Raises ValueError, naming the fields, if the store has another spec than this version defines."""
    expected, stored = dict(spec), dict(store.spec)
    stored["source"] = stored["source"].partition(FROM)[0]
    skipped = {"num_missing", "origin"} | (set() if spec.validation_groups else {"validation_groups"})
    if differing := [field for field in expected if field not in skipped and expected[field] != stored[field]]:
        raise ValueError(
            f"store {store.path} is not the {store.name} of this version: it differs in {', '.join(differing)}; "
            f"run `vddbench prepare {store.name} --force`, or give the store's folder another name"
        )


def check_counts(store: Store, spec: DatasetSpec, index: pd.DataFrame) -> None:
    """Raises ValueError unless the stored and the missing videos add up to the pinned counts."""
    counts, missing = Counter(index["split"]), spec.num_missing or {}
    for split, count in (spec.num_videos or {}).items():
        if counts[split] + missing.get(split, 0) != count:
            raise ValueError(
                f"store {store.path} is damaged: {counts[split]:,} {split} videos and {missing.get(split, 0):,} missing ones "
                f"don't make {count:,}; prepare it again"
            )


def contradiction(record: Record, dataset: Any) -> str | None:
    """How a record contradicts what is pinned about its dataset; None if it does not. dataset: what `pinned` returns."""
    if dataset is None:
        return None
    name, spec = record.task.dataset, dataset.SPEC
    if record.store_digest != getattr(dataset, "DIGEST", record.store_digest):
        return f"its prepared store {record.store_digest[:8]} is not {name}, whose digest begins with {dataset.DIGEST[:8]}"
    test = spec.num_videos["test"]
    if record.num_classes != spec.num_classes or not test - record.num_missing <= record.num_test <= test:
        return (
            f"it has {record.num_classes:,} classes and {record.num_test:,} test videos, {record.num_missing:,} are missing; "
            f"{name} has {spec.num_classes:,} and {test:,}"
        )
    return None
