"""Runs a bundled baseline on the train split of a prepared dataset and writes its submission."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vddbench.data.store import Split, open_train
from vddbench.distillation import curves as plots
from vddbench.distillation import resume as checkpoint
from vddbench.distillation.contract import Distilled, Learner
from vddbench.distillation.learn import enough_memory, learn
from vddbench.distillation.watch import Watch
from vddbench.evaluation.students import convnet3d
from vddbench.evaluation.train import best_precision, exact_fp32
from vddbench.lookup import load, named_in_tables, unknown
from vddbench.spec import ConfigValue, Task, folder_of
from vddbench.submissions import submission
from vddbench.submissions.manifest import MANIFEST
from vddbench.system.device import best_device, device_name, forget_peak_memory, peak_memory_bytes
from vddbench.system.files import check_writable
from vddbench.system.progress import say

PUBLISHED = "miniucf-ipc1"  # the task whose settings are every Config's defaults


@dataclass(frozen=True, kw_only=True)
class Made:
    """A set, and what it cost."""

    distilled: Distilled
    seconds: float
    clips_read: int | None = None
    peak_memory_bytes: int = 0  # of processes before this one, too
    chosen: dict[str, Any] = field(default_factory=dict)


def distill(
    method: str,
    task: Task,
    seed: int,
    out: Path,
    force: bool = False,
    *,
    device: torch.device | None = None,
    preset: str | None = None,
    watch_every: int | None = None,
) -> Path:
    """Writes `out/TASK/METHOD[_PRESET]` (`-sN` behind it for seed N > 0). Same seed, same bytes on the CPU.

    The method is given the train split and a seed; no other data. With `watch_every` the validation videos are kept out of
    distilling, and the best iteration on them is submitted. Raises ValueError when the method can't serve the task,
    LookupError for unknown names.
    """
    baseline = load("baseline", method)
    device = device or best_device()
    train = open_train(task.dataset)
    config = config_for(baseline, method, task, preset)
    check_writable(out)
    named = named_in_tables(method, preset)
    folder = folder_of(named, seed)
    forget_peak_memory(device)
    if hasattr(baseline, "learner"):
        if (out / str(task) / folder / MANIFEST).exists() and not force:
            raise ValueError(f"{out / str(task) / folder} is there already; --force distills it again, --seed N another one")
        made = _learned(baseline, method, train, task, config, seed, device, folder, watch_every, preset, force)
    elif watch_every is not None:
        raise ValueError(f"{method} has no iterations to watch; leave out --watch-val")
    elif device != best_device():
        raise ValueError(f"{method} takes the device there is; leave out --device")
    else:
        started = time.monotonic()
        distilled = baseline.distill(train, task, config, np.random.default_rng(seed))
        made = _at_once(distilled, time.monotonic() - started)
    path = submission.write(
        out,
        made.distilled.tensors,
        method=named,
        task=task,
        seed=seed,
        decoder=baseline.DECODER,
        config={**asdict(config), **({"preset": preset} if preset else {}), **made.distilled.chosen, **made.chosen},
        paper=baseline.PAPER,
        holdout=watch_every is not None,
        distill_seconds=round(made.seconds, 3),
        distill_hardware=device_name(device),
        distill_peak_memory_bytes=max(made.peak_memory_bytes, peak_memory_bytes(device)),
        distill_clips_read=made.clips_read,
        store=train.id,
        spec=train.spec,
        force=force,
    )
    checkpoint.drop(checkpoint.folder_of(str(task), path.name))
    say(f"{path}: distilled in {made.seconds:.1f} s")
    return path


def _at_once(distilled: Distilled, seconds: float) -> Made:
    """What a method without iterations made in so many seconds; a teacher that was cached took its time before."""
    taught = _sum(distilled.chosen, "_seconds")
    read = int(_sum(distilled.chosen, "_clips_read"))
    return Made(distilled=distilled, seconds=seconds if seconds >= taught else seconds + taught, clips_read=read or None)


def config_for(baseline: Any, method: str, task: Task, preset: str | None) -> Any:
    """The preset asked for, else the published settings of the task, else the method's own."""
    if preset is None:
        published = getattr(baseline, "CONFIGS", {})
        if hasattr(baseline, "learner") and str(task) not in {PUBLISHED, *published}:
            say(f"no settings of {method} are published for {task}; it takes those for {PUBLISHED}", style="yellow")
        return published.get(str(task), baseline.Config())
    presets: dict[str, Any] = getattr(baseline, "PRESETS", {})
    if preset not in presets:
        raise LookupError(unknown(f"preset of {method}", preset, sorted(presets)))
    return presets[preset]


def _learned(
    baseline: Any,
    method: str,
    train: Split,
    task: Task,
    config: Any,
    seed: int,
    device: torch.device,
    folder: str,
    watch_every: int | None,
    preset: str | None,
    force: bool,
) -> Made:
    """A run of an iterative baseline, under a lock, with its curves beside the checkpoint."""
    run = checkpoint.folder_of(str(task), folder)
    watch = None
    if watch_every is not None:
        watch, train = watch_for(train, task, baseline.DECODER, watch_every, device)
    about = {"method": method, "preset": preset, "seed": seed, "store": train.digest, "watch_every": watch_every}
    settings = {**about, "device": device.type, "precision": best_precision(device, convnet3d), **asdict(config)}
    with checkpoint.locked(run), exact_fp32():
        if force and not checkpoint.was_forced(run, settings):
            checkpoint.drop(run)
        checkpoint.read(run, settings)  # refuses other settings before the learner's experts or statics are made
        learner = made_learner(baseline, train, task, config, seed, device)
        learned = learn(learner, settings, run, watch, f"{method} on {task} seed {seed}", forced=force)
        plots.curves(learned.progress.losses, learned.progress.watched, run)
        rounded = rounding(learner, baseline.DECODER, train, watch)
    if learned.waited_share is not None:
        say(f"  {learned.progress.clips_read:,} real clips read; waiting for them took {learned.waited_share:.1%} of the time")
    shared = learned.distilled.chosen  # also of experts and stills that were cached: a set costs what it is learned from
    return Made(
        distilled=learned.distilled,
        seconds=learned.progress.seconds + _sum(shared, "_seconds"),
        clips_read=learned.progress.clips_read + int(_sum(shared, "_clips_read")),
        peak_memory_bytes=learned.progress.peak_memory_bytes,
        chosen={**learned.chosen, **rounded},
    )


def _sum(told: Mapping[str, ConfigValue], ending: str) -> float:
    return sum(float(value or 0) for name, value in told.items() if name.endswith(ending))


def made_learner(baseline: Any, train: Split, task: Task, config: Any, seed: int, device: torch.device) -> Learner:
    """With its experts and statics, made first where they aren't cached."""
    with enough_memory(baseline.Matching.memory_knob, "before the first iteration"):
        learner: Learner = baseline.learner(train, task, config, seed, device)
    return learner


def watch_for(train: Split, task: Task, decoder: str, every: int, device: torch.device) -> tuple[Watch, Split]:
    """(a watch on the validation videos, the other train videos). Raises ValueError when the store has none."""
    held_out = train.index["validation"].to_numpy(bool)
    if not held_out.any() or held_out.all():
        raise ValueError(
            f"{train.dataset} has {held_out.sum()} validation videos of {len(train)}, so nothing can be watched or tuned "
            "on them; without --watch-val the iteration of the Config is submitted"
        )
    watch = Watch(every=every, validation=train.only(held_out), task=task, decoder=decoder, device=device)
    return watch, train.only(~held_out)


def rounding(learner: Learner, decoder: str, train: Split, watch: Watch | None) -> dict[str, float]:
    """What storing in 8 bits costs: its error in grey levels and, with a watch, validation top-1 without and with it.

    Of the last iteration.
    """
    exact = learner.exact()
    tensors = learner.distilled().tensors
    decoded = load("decoder", decoder).decode(tensors, train.spec)
    error = (decoded.clips.float() - exact.clips.float()).square().mean().sqrt()
    found = {"last_rounding_rms_grey_levels": round(float(error), 4)}
    if watch is not None:
        found["last_top1_rounded"] = round(watch.score(decoded), 4)
        found["last_top1_unrounded"] = round(watch.score(exact), 4)
    return found
