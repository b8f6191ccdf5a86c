"""Runs a baseline on the train split of a prepared dataset and writes its submission."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vddbench import __version__
from vddbench.data.store import Split, open_train
from vddbench.distillation import resume
from vddbench.distillation.cached_work import STOPWATCH
from vddbench.distillation.contract import BaselineModule, Distilled, IterativeBaselineModule, Learner
from vddbench.distillation.curves import write_curves
from vddbench.distillation.learn import learn
from vddbench.distillation.presets import PUBLISHED, config_for, decoder_of, is_published
from vddbench.distillation.remedies import diverged, enough_memory, explained
from vddbench.distillation.watch import watch_for
from vddbench.evaluation.hardware import best_precision, exact_fp32
from vddbench.evaluation.students import convnet3d
from vddbench.lookup import file_of, load, missing_parts, named_in_tables
from vddbench.spec import ConfigValue, Manifest, Task, folder_of
from vddbench.submissions.check import contents_of, warnings_of
from vddbench.submissions.manifest import MANIFEST, UNMEASURED, read_manifest, readable_errors
from vddbench.submissions.tensors import label_track
from vddbench.submissions.write import checked, same_bytes, save
from vddbench.system.allocator import keep_freed_memory
from vddbench.system.device import best_device, chosen_device, device_name, forget_peak_memory, peak_memory_bytes
from vddbench.system.files import check_writable, sha256_file
from vddbench.system.progress import say


@dataclass(frozen=True, kw_only=True)
class Job:
    """One distillation: which method, with which settings, for which task."""

    method: str
    task: Task
    seed: int
    config: Any  # an instance of the baseline's Config
    device: torch.device
    preset: str | None = None
    watch_every: int | None = None  # iterations between scores on validation videos; None: distilling uses these videos, too

    @property
    def name(self) -> str:
        """The method's name in tables: METHOD or METHOD_PRESET."""
        return named_in_tables(self.method, self.preset)


@dataclass(frozen=True, kw_only=True)
class Made:
    """A distilled set and its cost, including the cost of cached work (experts, stills, a teacher)."""

    distilled: Distilled
    seconds: float
    clips_read: int | None = None
    peak_memory_bytes: int = 0  # the largest of all processes that worked on the set
    chosen: dict[str, Any] = field(default_factory=dict)  # what the run chose or measured, for the manifest


def distill(
    method: str,
    task: Task | str,
    seed: int = 0,
    out: Path | str = "submissions",
    force: bool = False,
    *,
    device: torch.device | None = None,
    preset: str | None = None,
    watch_every: int | None = None,
) -> Path:
    """Distils `task` with a baseline and returns the submission's folder, `OUT/TASK/METHOD[_PRESET][-sSEED]`.

    The method receives the train split and a seed and no other data. On the CPU, the same seed gives the same bytes. With
    `watch_every`, distilling does not use the validation videos, and the iteration that scores best on them is submitted.
    Prints the warnings that `check` would give, except those about copies of test videos, which are not read here.

    Raises ValueError if the method cannot serve the task or the submission exists and `force` is not set, LookupError for
    unknown names.
    """
    task, out = Task.parse(task) if isinstance(task, str) else task, Path(out)
    baseline, train = load("baseline", method), open_train(task.dataset)
    config = config_for(baseline, method, task, preset)
    if preset is None and baseline.PAPER and not is_published(baseline, task):
        say(f"no settings of {method} are published for {task}; it uses those for {PUBLISHED}", style="yellow")
    job = Job(
        method=method,
        task=task,
        seed=seed,
        config=config,
        device=chosen_device(device),
        preset=preset,
        watch_every=watch_every,
    )
    draft = _draft(baseline, job, train)
    check_writable(out)
    keep_freed_memory()
    forget_peak_memory(job.device)
    with explained(method, task, config, getattr(baseline, "PRESETS", {})):
        if isinstance(baseline, IterativeBaselineModule):
            folder = out / str(task) / folder_of(job.name, seed)
            if (folder / MANIFEST).exists() and not force:
                raise ValueError(f"{folder} exists; --force distills it again, --seed N makes another one")
            made = _made_in_steps(baseline, job, train, force)
        else:
            made = _made_at_once(baseline, job, train)
    ready = checked(made.distilled.tensors, _manifest(draft, job, made), train.spec)
    path = save(out, ready, force=force)
    resume.drop(resume.folder_of(str(task), path.name))
    say(f"{path}: distilled in {made.seconds:.1f} s")
    warnings = warnings_of(contents_of(ready.clip_set, train.spec, train), train.spec)
    for warning in (*warnings, same_bytes(out, read_manifest(path.resolve()))):
        if warning:
            say(f"warning: {warning}", style="yellow")
    return path


def _draft(baseline: BaselineModule | IterativeBaselineModule, job: Job, train: Split) -> Manifest:
    """The manifest before distilling. Raises ValueError, before hours are spent, for what no manifest can hold."""
    with readable_errors():
        return Manifest(
            method=job.name,
            task=job.task,
            seed=job.seed,
            decoder=decoder_of(baseline, job.config),
            labels="hard",
            sha256=UNMEASURED,
            config={**asdict(job.config), **({"preset": job.preset} if job.preset else {})},
            paper=baseline.PAPER,
            holdout=job.watch_every is not None,
            distill_hardware=device_name(job.device),
            **train.id._asdict(),
        )


def _manifest(draft: Manifest, job: Job, made: Made) -> Manifest:
    """The manifest of a distilled set, without the measurements of its payload."""
    measured = {
        "labels": label_track(made.distilled.tensors),
        "config": {**draft.config, **made.distilled.chosen, **made.chosen},
        "external_data": made.distilled.external_data,
        "distill_seconds": round(made.seconds, 3),
        "distill_peak_memory_bytes": max(made.peak_memory_bytes, peak_memory_bytes(job.device)),
        "distill_clips_read": made.clips_read,
    }
    with readable_errors():
        return Manifest.model_validate({**dict(draft), **measured})


def make_learner(baseline: IterativeBaselineModule, job: Job, train: Split) -> Learner:
    """The baseline's learner before its first step. Experts and stills that are not cached are made first.

    Raises ValueError if memory runs out, or if what the file returns is not a Learner.
    """
    with enough_memory("before the first iteration"):
        learner = baseline.learner(train, job.task, job.config, job.seed, job.device)
    if missing := missing_parts(learner, Learner):
        raise ValueError(
            f"the learner of baseline {job.method} ({type(learner).__name__}) lacks {', '.join(missing)}; "
            "see Learner in vddbench.distillation.contract"
        )
    if not hasattr(job.config, learner.memory_knob):
        raise ValueError(f"baseline {job.method}: memory_knob {learner.memory_knob!r} is not a field of its Config")
    return learner


def as_promised(distilled: object, method: str) -> Distilled:
    """What a baseline's file returned. Raises ValueError if it is not a Distilled with tensors."""
    if not isinstance(distilled, Distilled):
        raise ValueError(f"baseline {method} returned {type(distilled).__name__}; it must return a Distilled with the payload")
    for name, value in distilled.tensors.items():
        if not isinstance(value, torch.Tensor):
            raise ValueError(f"baseline {method} returned {type(value).__name__} as {name!r}; a payload holds torch tensors")
    return distilled


def rounding_error(learner: Learner, decoder: str, train: Split) -> dict[str, float]:
    """The error in grey levels (root mean square) of storing the last iteration in 8 bits, for the manifest.

    Raises ValueError if the error is not finite.
    """
    exact = learner.exact()
    decoded = load("decoder", decoder).decode(learner.distilled().tensors, train.spec)
    error = (decoded.clips.float() - exact.clips.float()).square().mean().sqrt()
    if not error.isfinite():
        raise diverged(f"what is learned has values up to {exact.clips.abs().max():.2g}, too large to be stored")
    return {"last_rounding_rms_grey_levels": round(float(error), 4)}


def _made_at_once(baseline: BaselineModule, job: Job, train: Split) -> Made:
    if job.watch_every is not None:
        raise ValueError(f"{job.method} has no iterations to watch; leave out --watch-val")
    if job.device != best_device():
        raise ValueError(f"{job.method} always runs on the default device, {best_device()}; leave out --device")
    started, before = time.monotonic(), STOPWATCH.seconds
    distilled = as_promised(baseline.distill(train, job.task, job.config, np.random.default_rng(job.seed)), job.method)
    own_seconds = time.monotonic() - started - (STOPWATCH.seconds - before)  # without cached work, which knows its own cost
    return Made(
        distilled=distilled,
        seconds=own_seconds + _sum_of(distilled.chosen, "_seconds"),
        clips_read=int(_sum_of(distilled.chosen, "_clips_read")) or None,
    )


def _made_in_steps(baseline: IterativeBaselineModule, job: Job, train: Split, force: bool) -> Made:
    """Runs or resumes an iterative baseline, under a lock. Leaves the curves in the folder of the checkpoint."""
    folder = resume.folder_of(str(job.task), folder_of(job.name, job.seed))
    watch = None
    identity = {"method": job.method, "preset": job.preset, "seed": job.seed, "store": train.digest}
    if job.watch_every is not None:
        watch, train = watch_for(train, job.task, decoder_of(baseline, job.config), job.watch_every, job.device)
    machine = {
        "device": job.device.type,
        "precision": best_precision(job.device, convnet3d),
        "torch": str(torch.__version__),
        "vddbench": __version__,
        "file": sha256_file(file_of("baseline", job.method))[:8],  # the author of a method changes it between runs
    }
    settings = {**identity, "watch_every": job.watch_every, **machine, **asdict(job.config)}
    with resume.locked(folder), exact_fp32():
        if force and not resume.was_forced(folder, settings):
            resume.drop(folder)
        resume.read(folder, settings)  # refuses other settings before the learner spends hours on experts or stills
        learner = make_learner(baseline, job, train)
        as_promised(learner.distilled(), job.method)
        learned = learn(learner, settings, folder, watch, f"{job.method} on {job.task} seed {job.seed}", forced=force)
        write_curves(learned.progress.losses, learned.progress.watched, folder)
        rounding = rounding_error(learner, decoder_of(baseline, job.config), train)
    if learned.waited_share is not None:
        say(f"  {learned.progress.clips_read:,} real clips read; waiting for them took {learned.waited_share:.1%} of the time")
    earlier = learned.distilled.chosen
    return Made(
        distilled=learned.distilled,
        seconds=learned.progress.seconds + _sum_of(earlier, "_seconds"),
        clips_read=learned.progress.clips_read + int(_sum_of(earlier, "_clips_read")),
        peak_memory_bytes=learned.progress.peak_memory_bytes,
        chosen={**learned.chosen, **rounding},
    )


def _sum_of(chosen: Mapping[str, ConfigValue], ending: str) -> float:
    """The sum of the values whose names end like this: the cost of earlier work, cached or not."""
    return sum(float(value or 0) for name, value in chosen.items() if name.endswith(ending))
