"""What the protocol fixes and why, generated from the frozen object and the students' recipes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vddbench.protocol import V1, ProtocolV1
from vddbench.spec import Recipe

WHY = {  # of every field of the protocol; tests hold the two together
    "name": "Any change that can move a score raises it; tables never mix protocols.",
    "ipcs": "The budgets of the field: clips a class that uint8 clips of full size would fill.",
    "budget": "Counted over every tensor: float32 pixels, soft labels and decoder weights used to be free.",
    "normalisation_mean": "Fixed: statistics of class-sorted test batches leak the label.",
    "normalisation_std": "Fixed, for the same reason.",
    "batch": "A fixed number of steps of this many clips: more clips may buy diversity, never more training.",
    "loss": "One loss for every method; soft labels are a track of their own.",
    "augmentation": "What is learned must come from the distilled set.",
    "read_out": "Released code picks the best of many looks at the test set; here there is one look.",
    "test_views": "The same clips of every test video, evenly spaced: random ones at every look make scores noise.",
    "test_precision": "A score must not depend on order or batch size.",
    "init": "Seeds are 0, 1, 2, ...; elsewhere they came from the clock.",
    "default_seeds": "Fewer than 3 trained students are shown, and not ranked.",
}
ALSO_FIXED = (
    (
        "data",
        "Pinned videos, decoded once into a store that every record names by its digest; tables mix decoder versions only.",
    ),
    ("validation", "A part of train, apart by group where there are groups. Nothing may be chosen on test videos."),
    ("collapsed students", "Count as wrong on every video and are flagged. Dropping failed seeds would flatter."),
    (
        "predictions",
        "Every answer on every test video is kept; headlines are recomputed from them and refused when they differ.",
    ),
    ("tracks", "Hard labels and soft labels are ranked apart; data from outside the train split is flagged."),
)


@dataclass(frozen=True)
class Fixed:
    """One row of the page."""

    name: str
    value: str
    why: str


def protocol_rows(protocol: ProtocolV1 = V1) -> list[Fixed]:
    """A row for every field."""
    return [Fixed(name.replace("_", " "), _shown(value), WHY[name]) for name, value in protocol.model_dump().items()]


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, Sequence) and not isinstance(value, str) else str(value)


@dataclass(frozen=True)
class Student:
    """A network and how it is trained."""

    name: str
    what: str  # first line of its file
    recipe: Recipe
    hash: str  # of protocol and recipe, as records have it
    bf16: bool


def students() -> list[Student]:
    """Every student of the package. Imports torch."""
    from vddbench import lookup

    found = []
    for name in lookup.names("student"):
        module = lookup.load("student", name)
        recipe: Recipe = module.RECIPE
        what = (module.__doc__ or "").strip().splitlines()[0]
        found.append(Student(name, what, recipe, V1.hash(recipe), bool(getattr(module, "BF16", False))))
    return found
