"""`studies settings`: a method at several settings, each scored on validation videos that distilling did not see.

The CSV in leaderboard/studies has what was tried for the fast presets since this command is there; the test split plays no
part. `dm`'s were settled before.
"""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from vddbench.data.store import open_train
from vddbench.distillation import resume as checkpoint
from vddbench.distillation.learn import learn
from vddbench.distillation.run import config_for, made_learner, watch_for
from vddbench.evaluation.students import convnet3d
from vddbench.evaluation.train import best_precision
from vddbench.lookup import load, unknown
from vddbench.spec import Task
from vddbench.system.device import device_name
from vddbench.system.files import canonical_json, replacing
from vddbench.system.progress import say

COLUMNS = ["preset", "changed", "settings", "distill_seed", "student_seed", "validation_top1", "seconds", "device"]


def parse(config: Any, text: str) -> Any:
    """`lr=0.1,iterations=300` -> the config with these fields. Raises LookupError naming the fields and types there are."""
    known = {f.name: type(getattr(config, f.name)) for f in fields(config)}
    changed: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        if name not in known:
            raise LookupError(unknown("setting", name, sorted(known)))
        try:
            changed[name] = {"True": True, "False": False}[value] if known[name] is bool else known[name](value)
        except (KeyError, ValueError):
            allowed = "True or False" if known[name] is bool else known[name].__name__
            raise LookupError(f"setting {name}={value[:40]!r}: allowed is {allowed}") from None
    return replace(config, **changed)


def settings(
    method: str,
    task: Task,
    preset: str | None,
    tries: Sequence[str],
    seeds: Sequence[int],
    distill_seed: int,
    device: torch.device,
    out: Path,
) -> pd.DataFrame:
    """Validation top-1 of `seeds` students for each text of `tries` (`""`: the preset itself). A repeated call goes on.

    Writes one row a student to `out/settings-METHOD-TASK.csv`.
    """
    baseline, train = load("baseline", method), open_train(task.dataset)
    if not hasattr(baseline, "learner"):
        raise LookupError(f"{method} does not iterate, so there are no settings of its learning to compare")
    base = config_for(baseline, method, task, preset)
    file = out / f"settings-{method}-{task}.csv"
    for text in tries:
        config = parse(base, text)
        about = {"method": method, "seed": distill_seed, "store": train.digest, "holdout": True, **asdict(config)}
        about["device"] = device.type
        digest = hashlib.sha256(canonical_json(about)).hexdigest()[:12]
        found = _rows(file)
        left = sorted(set(seeds) - set(found.loc[found["settings"] == digest, "student_seed"]))
        folder = checkpoint.folder_of(str(task), f"study-{method}-{digest}")
        if not left and folder.is_dir():  # of a run that was killed between its last row and dropping it
            with suppress(ValueError), checkpoint.locked(folder):  # another process may be at more seeds of it
                checkpoint.drop(folder)
        if left:
            watch, fit = watch_for(train, task, baseline.DECODER, 1, device)
            with checkpoint.locked(folder):
                learner = made_learner(baseline, fit, task, config, distill_seed, device)
                kept = {**about, "precision": best_precision(device, convnet3d)}
                learned = learn(learner, kept, folder, None, f"{method} {text or preset or 'as published'}")
                for seed in left:
                    top1 = replace(watch, seeds=(seed,)).top1(learned.distilled)
                    row = [preset or "", text, digest, distill_seed, seed, round(top1, 4), round(learned.progress.seconds, 1)]
                    _add(file, [*row, device_name(device)])
                checkpoint.drop(folder)
        found = _rows(file)
        scores = found.loc[found["settings"] == digest, "validation_top1"]
        say(f"{method} {text or preset or 'as published'}: validation top-1 {scores.mean():.1%} ({len(scores)} students)")
    return _rows(file)


def _rows(file: Path) -> pd.DataFrame:
    if not file.exists():
        return pd.DataFrame(columns=COLUMNS)
    texts = dict.fromkeys(("preset", "changed", "settings", "device"), str)  # a digest may look like a number
    return pd.read_csv(file, dtype=texts, keep_default_na=False)


def _add(file: Path, row: Sequence[object]) -> None:
    """One more row; several processes may add to a file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.with_name(f".{file.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        rows = [*_rows(file).to_numpy(object).tolist(), list(row)]
        with replacing(file) as target:
            target.write(pd.DataFrame(rows, columns=COLUMNS).to_csv(index=False).encode())
