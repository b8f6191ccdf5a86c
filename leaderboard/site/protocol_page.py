"""Rows of the protocol page: what the protocol fixes and why, from the protocol object and the students' recipes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vddbench import lookup
from vddbench.protocol import PROTOCOL
from vddbench.spec import Recipe

WHY = {  # by field of the protocol; a test checks that none is missing
    "name": "Any change that can move a score gives the protocol a new name. Tables never mix protocols.",
    "ipcs": "The budgets of the literature: a set may take as many bytes as this many uncompressed clips per class.",
    "budget": "Every tensor counts. Elsewhere, float32 pixels, soft labels and decoder weights were often free.",
    "normalisation_mean": "Constants: statistics of test batches that are sorted by class would reveal the labels.",
    "normalisation_std": "Constants, for the same reason.",
    "standardisation": "Two numbers per clip, whatever the batch: students then fit sets of dark, pale or nearly alike clips "
    "too, and the scale of a set's pixels cannot act as a learning rate of its own.",
    "batch": "The number of steps is fixed too: more clips can add variety, but never more training.",
    "loss": "The same for every method. Sets with soft labels are ranked in tables of their own.",
    "gradient_norm": "In batches of few clips some students diverged on sets that others learned. The limit prevents it.",
    "augmentation": "All that a student learns must come from the distilled set.",
    "read_out": "Released code often reports the best of many evaluations on the test set. Here there is one evaluation.",
    "test_views": "The same evenly spaced clips of every test video. Random clips would add noise to every score.",
    "test_precision": "A score must not depend on the order or the batch size of the test videos.",
    "init": "Seeds are 0, 1, 2, ...; code that takes them from the clock cannot be repeated.",
    "default_seeds": "Trained students per distilled set. Entries with fewer than 3 are shown but not ranked.",
}
ALSO_FIXED = (
    (
        "data",
        "A pinned list of videos, decoded once into a “prepared store”. Every record names its store by a digest; a table "
        "mixes only stores that differ in nothing but the decoder's version.",
    ),
    (
        "validation",
        "A part of the training videos; whole scenes or persons where the dataset names them. Nothing may be chosen on test "
        "videos.",
    ),
    (
        "collapsed students",
        "A student whose training diverged counts as wrong on every test video, and its entry is flagged. Leaving it out would "
        "raise the score.",
    ),
    (
        "predictions",
        "Every record keeps its student's answer to every test video. Scores are recomputed from these answers, and a record "
        "that states another score is refused.",
    ),
    (
        "divisions",
        "Each task is ranked twice: among sets that decode to at most ipc clips per class (ipc), and among all sets within the "
        "bytes of the budget (open).",
    ),
    (
        "tracks",
        "Sets with hard and with soft labels are ranked in separate tables. Entries that used data from outside the training "
        "split are flagged.",
    ),
)


@dataclass(frozen=True)
class ProtocolRow:
    """A field of the protocol, its value, and the reason for it."""

    name: str
    value: str
    why: str


def protocol_rows() -> list[ProtocolRow]:
    """A row for every field."""
    return [ProtocolRow(name.replace("_", " "), _as_text(value), WHY[name]) for name, value in PROTOCOL.model_dump().items()]


def _as_text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, Sequence) and not isinstance(value, str) else str(value)


@dataclass(frozen=True)
class StudentRow:
    """A network and its training recipe."""

    name: str
    what: str  # first line of its file
    recipe: Recipe
    hash: str  # of protocol and recipe, as records have it
    bf16: bool


def students() -> list[StudentRow]:
    """Every student that has a file here."""
    rows = []
    for name in lookup.names("student"):
        file = lookup.source_of("student", name)
        recipe = Recipe(**file.values["RECIPE"]) if "RECIPE" in file.values else lookup.load("student", name).RECIPE
        network = file.doc.partition("\n")[0]
        rows.append(StudentRow(name, network, recipe, PROTOCOL.hash(recipe), bool(file.values.get("BF16", False))))
    return rows
