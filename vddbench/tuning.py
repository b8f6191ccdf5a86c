"""`vddbench study settings`: a method at several settings, each scored on validation videos that distilling did not see.

The CSV in leaderboard/studies is what a method's presets were chosen from; the test split plays no part.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from vddbench import checkpoint
from vddbench.atomic import canonical_json, replacing
from vddbench.distill import config_for, watch_for
from vddbench.environment import device_name
from vddbench.learn import learn
from vddbench.lookup import load, unknown
from vddbench.progress import say
from vddbench.spec import Task
from vddbench.store import open_train


def parse(config: Any, text: str) -> Any:
    """`lr=0.1,iterations=300` -> the config with these fields. Raises LookupError naming the fields and types there are."""
    known = {f.name: type(getattr(config, f.name)) for f in fields(config)}
    changed: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        if name not in known:
            raise LookupError(unknown("setting", name, sorted(known)))
        try:
            changed[name] = known[name](value)
        except ValueError:
            raise LookupError(f"setting {name}={value[:40]!r}: allowed is {known[name].__name__}") from None
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
    base = config_for(baseline, method, task, preset)
    file = out / f"settings-{method}-{task}.csv"
    rows = pd.read_csv(file, keep_default_na=False).to_dict("records") if file.exists() else []
    for text in tries:
        config = parse(base, text)
        key: dict[Hashable, Any] = {
            "preset": preset or "",
            "changed": text,
            "distill_seed": distill_seed,
            "store": train.digest[:8],
        }
        done = {row["student_seed"] for row in rows if all(row[name] == value for name, value in key.items())}
        if set(seeds) <= done:
            continue
        watch, fit = watch_for(train, task, baseline.DECODER, 1, device)
        about = {"method": method, "seed": distill_seed, "store": train.digest, "holdout": True, **asdict(config)}
        name = f"study-{method}-{hashlib.sha256(canonical_json(about)).hexdigest()[:12]}"
        folder = checkpoint.folder_of(str(task), name)
        with checkpoint.locked(folder):
            learner = baseline.learner(fit, task, config, distill_seed, device)
            learned = learn(learner, about, folder, None, f"{method} {text or preset}")
        for seed in sorted(set(seeds) - done):
            top1 = replace(watch, seeds=(seed,)).top1(learned.distilled)
            scored: dict[Hashable, Any] = {**key, "student_seed": seed, "validation_top1": round(top1, 4)}
            rows.append({**scored, "seconds": round(learned.progress.seconds, 1), "device": device_name(device)})
            with replacing(file) as target:
                target.write(pd.DataFrame(rows).to_csv(index=False).encode())
        scores = [r["validation_top1"] for r in rows if all(r[n] == v for n, v in key.items())]
        say(f"{method} {text or preset}: validation top-1 {np.mean(scores):.1%} ({len(scores)} students)")
    return pd.DataFrame(rows)
