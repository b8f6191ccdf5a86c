"""What is known about every baseline: its facts and measured results. methods_text.py prints it, with published results.

Facts come from the files of baselines/, measured results from records, and the methods that have no baseline, with the reason,
from `without_code.csv`.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vddbench.distillation.contract import About
from vddbench.leaderboard.counting import entries
from vddbench.leaderboard.evidence import Evaluated
from vddbench.lookup import load, named_in_tables, usable
from vddbench.spec import FULL

WITHOUT_CODE = Path(__file__).with_name("without_code.csv")
FACTS = tuple(About.__dataclass_fields__)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The score of one name in tables on one task: a mean over distillations of means over students."""

    method: str  # as in tables: METHOD or METHOD_PRESET
    task: str
    student: str
    track: str
    top1: float  # in [0, 1]
    students: int
    distillations: int
    protocol: str
    device: str  # that its first student was trained on


@dataclass(frozen=True, kw_only=True)
class Method:
    """A baseline under those of its settings that share all facts."""

    method: str
    presets: tuple[str, ...]  # "": the published settings, without a preset
    about: str  # the first line of its docstring
    family: str  # "": a file without ABOUT
    decoder: str
    division: str  # `ipc`, `open`, or "" for the reference `full`, which has no budget
    labels: str
    reads: tuple[str, ...]  # besides train clips
    paper: str

    @property
    def names(self) -> list[str]:
        """Its names in tables."""
        return [named_in_tables(self.method, preset or None) for preset in self.presets]


def methods() -> list[Method]:
    """All baselines by name; warns of files that cannot be loaded.

    One whose presets differ in their facts is listed once for each combination of facts.
    """
    return [one for name in usable("baseline") for one in variants(name)]


def by_facts(module: Any) -> dict[tuple[Any, ...], list[str]]:
    """The presets of a baseline by their facts; "" for its published settings."""
    about: About | None = getattr(module, "ABOUT", None)
    presets: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    for preset, config in {"": module.Config(), **getattr(module, "PRESETS", {})}.items():
        facts = [getattr(config, fact, getattr(about, fact, None)) for fact in FACTS]
        presets[(*facts, getattr(config, "decoder", module.DECODER))].append(preset)
    return presets


def variants(name: str) -> list[Method]:
    """The combinations of facts of one baseline. Raises LookupError for an unknown name."""
    module = load("baseline", name)
    return [
        _method(name, tuple(presets), module, dict(zip((*FACTS, "decoder"), facts, strict=True)))
        for facts, presets in by_facts(module).items()
    ]


def _method(name: str, presets: tuple[str, ...], module: Any, facts: dict[str, Any]) -> Method:
    division = "" if name == FULL or not facts["family"] else "ipc" if facts["clips_per_slot"] == 1 else "open"
    return Method(
        method=name,
        presets=presets,
        about=(module.__doc__ or "").strip().partition("\n")[0],
        family=facts["family"] or "",
        decoder=facts["decoder"],
        division=division,
        labels=facts["labels"] or "",
        reads=tuple(facts["reads"] or ()),
        paper=module.PAPER,
    )


def without_code() -> list[dict[str, str]]:
    """Methods of the field that have no baseline: `method`, `paper`, `reason`."""
    with WITHOUT_CODE.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def measured(evaluated: Iterable[Evaluated]) -> list[Measured]:
    """The scores of all entries of all tables, by method."""
    by_protocol: dict[str, list[Evaluated]] = defaultdict(list)
    for one in evaluated:
        by_protocol[one.record.protocol].append(one)
    scores = []
    for entry in (entry for own in by_protocol.values() for entry in entries(own)):
        record = entry.one
        means = [sum(one.record.top1 for one in of_set) / len(of_set) for of_set in entry.evaluated]
        score = Measured(
            method=record.method,
            task=str(record.task),
            student=record.student,
            track=record.track,
            top1=sum(means) / len(means),
            students=len(entry.records),
            distillations=len(means),
            protocol=record.protocol,
            device=record.environment.device,
        )
        scores.append(score)
    return sorted(scores, key=lambda one: (one.method, one.task, one.student, one.track, one.protocol))
