"""The dataset spec behind a record: names of classes, size of clips."""

from __future__ import annotations

from collections.abc import Sequence

from vddbench import lookup
from vddbench.data.fingerprint import same_data
from vddbench.leaderboard.evidence import Evaluated
from vddbench.leaderboard.site.inventory import Inventory
from vddbench.spec import DatasetSpec


def prepared_spec(evaluated: Evaluated) -> DatasetSpec | None:
    """The spec of the prepared store that a record was evaluated on. Returns None if this machine does not have that store."""
    from vddbench.data.store import Store, prepared_names

    dataset = evaluated.record.task.dataset
    if dataset not in prepared_names():
        return None
    try:
        store = Store.open(dataset)
    except (ValueError, OSError):  # damaged: pages show class numbers in place of names
        return None
    return store.spec if same_data(evaluated.record, store.id) else None


def bundled_spec(evaluated: Evaluated) -> DatasetSpec | None:
    """The spec of a bundled dataset. None if the record has another number of classes."""
    dataset = evaluated.record.task.dataset
    if dataset not in lookup.names("dataset"):
        return None
    spec: DatasetSpec = lookup.load("dataset", dataset).SPEC
    return spec if spec.num_classes == evaluated.record.num_classes else None


class DatasetSpecs:
    """Specs by dataset and store digest, each read once."""

    def __init__(self, inventories: Sequence[Inventory]) -> None:
        """inventories: of earlier builds, with specs of stores that this machine may not have."""
        self.known = {digest: spec for inventory in reversed(inventories) for digest, spec in inventory.specs.items()}
        self.exact: dict[str, DatasetSpec] = {}  # by the store's digest; the inventory lists them
        self._known: dict[tuple[str, str], DatasetSpec | None] = {}

    def of(self, evaluated: Evaluated) -> DatasetSpec | None:
        digest = evaluated.record.store_digest
        key = evaluated.record.task.dataset, digest
        if key not in self._known:
            exact = prepared_spec(evaluated) or self.known.get(digest)
            if exact is not None and exact.num_classes == evaluated.record.num_classes:
                self.exact[digest] = exact
            self._known[key] = self.exact.get(digest) or bundled_spec(evaluated)
        return self._known[key]
