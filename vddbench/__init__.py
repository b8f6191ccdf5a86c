"""vddbench: the referee for video dataset distillation.

It fixes the data, the byte budget and the student training, so that the only thing a method can change is the distilled set.

    import vddbench

    vddbench.prepare("movingshapes")                                # or your own videos: prepare("mine", folder=Path(...))
    vddbench.distill("random", "movingshapes-ipc1", seed=0)         # writes submissions/movingshapes-ipc1/random
    print(vddbench.check("submissions/movingshapes-ipc1/random"))   # bytes, budget, every reason for refusal
    records = vddbench.evaluate("submissions/movingshapes-ipc1/random", seeds=3)
    table = vddbench.rank(results="results", task="movingshapes-ipc1")
    train = vddbench.load("movingshapes", "train")                  # a torch Dataset of (clip, label)

Names are imported when they are first used: `import vddbench` alone takes milliseconds.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vddbench.api import evaluate, load_records, rank
    from vddbench.data.prepare import prepare
    from vddbench.data.store import Store, load
    from vddbench.distillation.run import distill
    from vddbench.records.record import Record
    from vddbench.spec import ClipSet, DatasetSpec, Manifest, Recipe, Task
    from vddbench.submissions.check import check
    from vddbench.submissions.conversion import Conversion, Declaration
    from vddbench.submissions.pack import pack
    from vddbench.submissions.report import Report
    from vddbench.submissions.submission import load_clips

__version__ = "0.1.0"
__all__ = [
    "ClipSet", "Conversion", "DatasetSpec", "Declaration", "Manifest", "Recipe", "Record", "Report", "Store", "Task",
    "check", "distill", "evaluate", "load", "load_clips", "load_records", "pack", "prepare", "rank",
]  # fmt: skip
_MODULES = {
    "vddbench.api": ("evaluate", "load_records", "rank"),
    "vddbench.data.prepare": ("prepare",),
    "vddbench.data.store": ("Store", "load"),
    "vddbench.distillation.run": ("distill",),
    "vddbench.records.record": ("Record",),
    "vddbench.spec": ("ClipSet", "DatasetSpec", "Manifest", "Recipe", "Task"),
    "vddbench.submissions.check": ("check",),
    "vddbench.submissions.conversion": ("Conversion", "Declaration"),
    "vddbench.submissions.pack": ("pack",),
    "vddbench.submissions.report": ("Report",),
    "vddbench.submissions.submission": ("load_clips",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULE_OF[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
