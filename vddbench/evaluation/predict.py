"""A trained student's answers for the videos of a split: the mean over the protocol's views."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from vddbench.data.store import Split
from vddbench.evaluation.engine import Pace, read_clips
from vddbench.evaluation.hardware import Precision, exact_fp32, hardware_for
from vddbench.evaluation.session import Session
from vddbench.evaluation.students import StudentModule
from vddbench.evaluation.train import to_input, train
from vddbench.protocol import PROTOCOL
from vddbench.records.predictions import Predictions
from vddbench.spec import ClipSet, Task
from vddbench.system.progress import bar

TEST_BATCH = 64  # clips; the last batch is padded to this size, so that the arithmetic is the same for every clip
CPU = torch.device("cpu")
READERS = {"cpu": 1, "cuda": 4}  # threads that read clips, of MiniUCF's 39 MB a batch each


def clip_batches(
    split: Split, videos: np.ndarray, starts: np.ndarray, batch: int, device: torch.device = CPU
) -> Iterator[tuple[torch.Tensor, int]]:
    """Yields batches of `batch` clips and how many of them are not padding. Reads READERS batches ahead of the caller."""
    readers = READERS[device.type]
    with ThreadPoolExecutor(readers) as pool:

        def read(i: int) -> tuple[torch.Tensor, int]:
            rows = np.arange(i, min(i + batch, len(videos)))
            padded = np.resize(rows, batch)  # repeats the rows
            return read_clips(split, videos[padded], starts[padded], device), len(rows)

        begins = deque(range(0, len(videos), batch))
        ahead = deque(pool.submit(read, begins.popleft()) for _ in range(min(readers, len(begins))))
        while ahead:
            ready = ahead.popleft().result()
            if begins:
                ahead.append(pool.submit(read, begins.popleft()))
            yield ready


def views_of(split: Split) -> tuple[np.ndarray, np.ndarray]:
    """([n, 2] distinct (video, start) pairs, [V * views] the index of each view's pair). Views of short videos coincide."""
    starts = split.even_starts(PROTOCOL.test_views)
    pairs = np.stack([np.repeat(np.arange(len(split)), PROTOCOL.test_views), starts.ravel()], axis=1)
    unique, where = np.unique(pairs, axis=0, return_inverse=True)
    return unique, where


def num_clips(split: Split) -> int:
    """The number of clips on which `predict` runs the student for a split."""
    return len(views_of(split)[0]) if len(split) else 0


@torch.no_grad()
def probabilities(
    model: torch.nn.Module,
    split: Split,
    device: torch.device,
    *,
    batch: int = TEST_BATCH,
    frames: torch.Tensor | None = None,
    precision: Precision = "fp32",
    on_clips: Callable[[int], None] = lambda clips: None,
) -> tuple[np.ndarray, np.ndarray]:
    """([V, K] mean softmax over the protocol's views, [V, K] softmax of the centre clip), both float32.

    frames: int64 [T], the frames that replace those of each clip; None: the clip as it is. precision: fp32 but for a study.

    Computed in eval mode and fp32, so that a clip's result does not depend on the other clips of its batch. Answers stay on the
    device until the end, so that the host reads clips while a GPU computes.
    """
    unique, where = views_of(split)
    answers = [torch.empty((0, split.spec.num_classes), device=device)]
    order, pace = None if frames is None else frames.to(device), Pace(device)
    model.eval()
    with exact_fp32():
        for clips, count in clip_batches(split, unique[:, 0], unique[:, 1], batch, device):
            seen = clips.to(device, non_blocking=True)
            x = to_input(seen if order is None else seen[:, order], split.spec, device)
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
                logits = model(x)
            answers.append(logits.double().softmax(1)[:count].float())
            pace.batch_started()
            on_clips(count)
    out = torch.cat(answers).cpu().numpy()
    views = out[where.reshape(len(split), PROTOCOL.test_views)]  # [V, views, K]; the middle view is the centre clip
    return views.mean(1), views[:, PROTOCOL.test_views // 2]


def predict(
    model: torch.nn.Module,
    split: Split,
    device: torch.device,
    on_clips: Callable[[int], None] = lambda clips: None,
    frames: torch.Tensor | None = None,
) -> Predictions:
    """Answers for every video of a split. Ties go to the smaller class index. Non-finite outputs give -1, a wrong answer.

    frames: int64 [T], the frames that replace those of each clip; None: the clip as it is.
    """
    mean, centre = probabilities(model, split, device, frames=frames, on_clips=on_clips)
    order = np.argsort(-mean, axis=1, kind="stable")[:, :5].astype(np.int32)
    bad = ~(np.isfinite(mean).all(1) & np.isfinite(centre).all(1))
    order[bad] = -1
    true = mean[np.arange(len(split)), split.labels].astype(np.float32)
    return Predictions(
        video=split.index["video"].to_numpy(str),
        group=split.index["group"].to_numpy(str),
        label=split.labels.astype(np.int32),
        top5=order,
        true_probability=np.where(bad, np.float32(0), true),
        centre_top1=np.where(bad, -1, centre.argmax(1)).astype(np.int32),
    )


def top1_on(split: Split, clipset: ClipSet, task: Task, student: StudentModule, seed: int, about: str) -> float:
    """Top-1 on `split` of one student trained on `clipset` under the protocol. Methods use it to tune on validation videos.

    about: what is tuned, for the progress bar.
    """
    steps, batch = task.student_steps(split.spec), task.batch_size(split.spec, len(clipset), student.RECIPE)
    hardware = hardware_for(student)
    with bar(f"student to tune {about} on {split.dataset}", steps) as progress:
        session = Session(on_step=progress.advance)
        trained = train(clipset, split.spec, student, steps=steps, batch=batch, seed=seed, hardware=hardware, session=session)
    return predict(trained.model, split, hardware.device).scores()["top1"]
