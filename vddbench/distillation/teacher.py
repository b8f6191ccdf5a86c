"""A teacher: a network that is trained once on a store's train split. Its weights and its features are cached and shared.

Coresets use a MiniC3D's features before the pooling head, of the centre clip of each train video. Other methods use a teacher's
answers. The test videos are not read. While a teacher trains, its checkpoint lies beside the cached weights, in the format of
students, so that an interrupted training resumes.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from vddbench.data.store import Split
from vddbench.distillation.cached_work import Fresh, Work, cost_of, do_once, work_path
from vddbench.distillation.remedies import METHOD_FILE, enough_memory
from vddbench.evaluation.hardware import Hardware, arithmetic, exact_fp32, hardware_for
from vddbench.evaluation.resume import Checkpoint
from vddbench.evaluation.session import Session
from vddbench.evaluation.students import StudentModule, convnet3d
from vddbench.evaluation.train import Trained, build, to_input, train
from vddbench.spec import FULL, ClipSet, ConfigValue
from vddbench.system.device import best_device
from vddbench.system.interrupt import interruptible
from vddbench.system.progress import bar

BATCH = 64  # clips; a quarter of a student's batch on the full data, so training takes a quarter of the time
SEED = 0
# SGD steps of a teacher in the presets `fast` of methods that select by its answers. On 10 letters of avletters a teacher of 60
# steps gets 42 % of its own train clips right, with a probability of 0.18 for its answer in the mean; one of 200 steps 89 %,
# with 0.85. On movingshapes both have 100 %. `rded` on validation of the letters: 10.8 % with 60 steps, 18.3 with 200.
QUICK_STEPS = 200
UNFINISHED = ".unfinished"  # suffix of the teacher's checkpoint
FORMAT = 3  # version of the cached files and of the teacher's training; after a change all are made again


class Teacher(NamedTuple):
    """A trained network in eval mode, whose weights need no gradients."""

    model: convnet3d.ConvNet3D
    name: str  # of its cached file; two teachers with the same name are the same
    cost: dict[str, ConfigValue]  # of its training, for the manifest


@dataclass(frozen=True, kw_only=True)
class TeacherFeatures:
    """points: [V, D] float64, row i for video i. cost: the cost of the teacher, for the manifest."""

    points: np.ndarray
    cost: dict[str, ConfigValue]


def features(split: Split) -> TeacherFeatures:
    """Features of a train split in a MiniC3D. The teacher is trained on first use.

    Raises ValueError if the cached file is damaged or of another store, KeyboardInterrupt if the training was stopped; the
    next call resumes it.
    """
    own = _path(split, convnet3d, split.spec.student_steps[FULL], BATCH, hardware_for(convnet3d))
    work = do_once(work_path("teachers", split.dataset, [FORMAT, own.stem]), "teacher", lambda: _features(split))
    return TeacherFeatures(points=work.tensor[:].numpy().astype(np.float64), cost=cost_of("teacher", work))


def teacher(
    split: Split,
    network: StudentModule = convnet3d,
    *,
    steps: int = 0,
    batch: int = 0,
    device: torch.device | None = None,
    knob: str = "",
) -> Teacher:
    """A network trained on one random clip of each video of a train split. It is trained on first use, then cached.

    steps, batch: SGD steps and clips per step; 0: as many steps as a student on the full data, BATCH clips. knob: the field of
    the method's Config that `batch` comes from, "" if it has none.
    Raises ValueError if its loss is not finite, if memory runs out, or if the cached file is damaged or of another teacher;
    KeyboardInterrupt if the training was stopped; the next call resumes it.
    """
    steps, batch = steps or split.spec.student_steps[FULL], batch or BATCH
    remedy = f"use fewer teacher_steps{f' or a larger {knob}' if knob else ''} in {METHOD_FILE}"
    work, hardware, name = _weights(split, network, steps, batch, device, knob, remedy)
    return _restored(split, network, work, hardware, name)


@torch.no_grad()
def answers(model: torch.nn.Module, clips: torch.Tensor, split: Split) -> torch.Tensor:
    """Clips [N, T, H, W, C] on the 0-255 scale -> probabilities [N, K] float32 on the CPU, BATCH clips at a time."""
    device = next(model.parameters()).device
    with exact_fp32():
        parts = [model(to_input(part, split.spec, device)).float().softmax(1).cpu() for part in torch.split(clips, BATCH)]
    return torch.cat(parts)


@torch.no_grad()
def embed(model: convnet3d.ConvNet3D, split: Split, rows: np.ndarray, starts: np.ndarray) -> torch.Tensor:
    """Features [n, D] float32 on the CPU of the clips that begin at `starts` of the videos `rows`, BATCH clips at a time.

    Raises ValueError if memory runs out.
    """
    device, points = next(model.parameters()).device, []
    with enough_memory("while the teacher's features were computed"):
        for part in np.split(np.arange(len(rows)), range(BATCH, len(rows), BATCH)):
            clips = split.clips(rows[part], starts[part])
            with exact_fp32():
                points.append(model.embed(to_input(clips, split.spec, device)).float().cpu())
    return torch.cat(points)


def _features(split: Split) -> Fresh:
    """Features of the centre clip of each video."""
    work, hardware, name = _weights(split, convnet3d, split.spec.student_steps[FULL], BATCH, best_device())
    started = time.monotonic()
    model = _restored(split, convnet3d, work, hardware, name).model
    rows = np.arange(len(split))
    points = embed(model, split, rows, split.centre_starts(rows))
    seconds = work.seconds + time.monotonic() - started
    return Fresh(points, seconds, work.clips_read + len(split))


def _path(split: Split, network: StudentModule, steps: int, batch: int, hardware: Hardware) -> Path:
    """The file of the weights. Its name, and so that of all that is made with this teacher, depends on the arithmetic, too."""
    kind, machine = network.build.__module__.rpartition(".")[2], [hardware.device.type, hardware.precision]
    depends_on = [FORMAT, split.digest, split.index["video"].tolist(), batch, SEED, kind, steps, machine]
    return work_path("teachers/weights", split.dataset, depends_on)


def _weights(
    split: Split,
    network: StudentModule,
    steps: int,
    batch: int,
    device: torch.device | None,
    knob: str = "",
    remedy: str = "use a method without a teacher",
) -> tuple[Work, Hardware, str]:
    """(the weights as one vector, the hardware, the name of the cached file). Trains the teacher if it is not cached.

    remedy: what the message of a loss that is not finite advises.
    """
    hardware = hardware_for(network, device)
    path = _path(split, network, steps, batch, hardware)
    checkpoint = Checkpoint(path.with_suffix(UNFINISHED), {"teacher": path.stem, **arithmetic(hardware)})

    def make() -> Fresh:
        started = time.monotonic()
        rows = np.arange(len(split))
        starts = split.random_starts(rows, np.random.default_rng(SEED))
        with enough_memory("while the teacher trained", knob):
            clips = ClipSet(clips=split.clips(rows, starts), labels=torch.from_numpy(split.labels))
            reading = time.monotonic() - started
            trained = _train(clips, split, network, steps, min(batch, len(clips)), hardware, checkpoint)
        if not trained.finite:
            raise ValueError(
                f"the loss of the teacher on {split.dataset} is not finite ({steps} steps of {min(batch, len(clips))} clips). "
                f"It trains by the recipe of the ranked student, which must not change: {remedy}"
            )
        seconds = reading + trained.seconds  # of all processes
        return Fresh(_packed(trained.model), seconds, len(split))

    work = do_once(path, "teacher", make)
    checkpoint.remove()
    return work, hardware, path.stem


def _train(
    clips: ClipSet, split: Split, network: StudentModule, steps: int, batch: int, hardware: Hardware, checkpoint: Checkpoint
) -> Trained:
    title = f"teacher on {split.dataset} (cached for later)"
    with bar(title, steps) as progress, interruptible() as stop:
        session = Session(checkpoint, on_step=progress.advance, stop=stop)
        # No limit on gradients: teachers train in larger batches, and a limit would change every cached teacher.
        return train(
            clips, split.spec, network,
            steps=steps, batch=batch, seed=SEED, hardware=hardware, session=session, gradient_norm=math.inf,
        )  # fmt: skip


def _restored(split: Split, network: StudentModule, work: Work, hardware: Hardware, name: str) -> Teacher:
    model = build(network, split.spec, SEED, hardware.device).eval().requires_grad_(False)
    assert isinstance(model, convnet3d.ConvNet3D)
    vector, values = work.tensor[:], _values(model)
    if len(vector) != sum(value.numel() for value in values):
        raise ValueError(f"teacher {name} has {len(vector):,} weights, which is another network; delete the file and run again")
    for value, part in zip(values, torch.split(vector, [value.numel() for value in values]), strict=True):
        value.copy_(part.view(value.shape))
    return Teacher(model, name, cost_of("teacher", work))


def _packed(model: torch.nn.Module) -> torch.Tensor:
    """All weights and running statistics as one vector on the CPU."""
    return torch.cat([value.detach().cpu().reshape(-1) for value in _values(model)])


def _values(model: torch.nn.Module) -> list[torch.Tensor]:
    return [value for value in model.state_dict().values() if value.is_floating_point()]
