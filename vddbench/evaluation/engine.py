"""Steps that a GPU does without waiting for the host: their batches are chosen on the device, and a CUDA graph starts them.

One step of a small student is some hundred kernels. Started one by one they can take longer than they run, and every number
that is copied to or from the GPU makes one side wait. So clips, labels and the order of the clips go to the device once, a
counter there says which step it is, and after EAGER_STEPS steps the whole step is captured as a CUDA graph: forward and
backward pass, dropout, the limit on the gradient, SGD. The random numbers of a graph continue those of the steps before, so
capturing does not change the student.

On the CPU the same code runs step by step. On a GPU it does so if a step cannot be captured, and then says why.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch

from vddbench.data.store import Split
from vddbench.system.progress import say

EAGER_STEPS = 3  # before a step is captured: they find how many clips fit, create the momentum and load the kernels
IN_FLIGHT = 2  # batches that a GPU may still have to do while the host prepares the next one

Step = Callable[[], torch.Tensor]  # does one step, always the same operations on the same shapes; returns the loss, detached
Capture = Callable[[Step, torch.device], Step]  # returns a function that does the step again


class Batches:
    """The clips and labels of one step after the other, chosen without the host if the clips are on the device."""

    def __init__(self, clips: torch.Tensor, labels: torch.Tensor, rows: np.ndarray, first: int, device: torch.device) -> None:
        """rows: [steps, batch], the clips of each step. first: the step to begin with. All go where the clips are."""
        self.device, self.clips, self.labels = device, clips, labels.to(clips.device)
        self.rows = torch.from_numpy(rows).to(clips.device)
        self.step = torch.full((1,), first, device=clips.device)  # int64

    def next(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(clips, labels) of the next step. The clips are where they were, the labels on the device."""
        rows = self.rows.index_select(0, self.step)[0]
        self.step += 1
        return self.clips[rows], self.labels[rows].to(self.device, non_blocking=True)


@dataclass
class Repeated:
    """Does one step again and again; on a GPU as a CUDA graph from the fourth time on.

    A step that is captured may use no Python number that changes, except `constant` of `__call__`: a change of it captures the
    step again. capture: None to do each step as it is.
    """

    step: Step
    device: torch.device
    capture: Capture | None = None
    calls: int = field(default=0, init=False)
    constant: float | None = field(default=None, init=False)
    replay: Step | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        on_gpu = self.device.type == "cuda" and self.capture is not None
        self.stream = torch.cuda.Stream(self.device) if on_gpu else None  # type: ignore[no-untyped-call]

    def __call__(self, constant: float) -> torch.Tensor:
        """Does one step. constant: the Python number that the step uses, such as the learning rate."""
        self.calls += 1
        with ordered(self.stream):  # also after a capture that failed: the memory that steps reuse belongs to this stream
            is_new = self.replay is None or constant != self.constant
            if self.capture is not None and self.calls > EAGER_STEPS and is_new:
                self._capture(self.capture)
                self.constant = constant
            return self.step() if self.replay is None else self.replay()

    def _capture(self, capture: Capture) -> None:
        self.replay = None  # frees the memory of an earlier graph
        try:
            self.replay = capture(self.step, self.device)
        except RuntimeError as error:  # out of memory, or an operation that cannot be captured
            self.capture = None
            reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
            say(f"  the steps are not one CUDA graph, so they may take longer: {reason}", style="yellow")


@contextmanager
def ordered(stream: torch.cuda.Stream | None) -> Iterator[None]:
    """Work in the block is done in `stream`, after all work before the block and before all work after it. None: as usual.

    A step must not be captured in the default stream, and what it does before is to be in the stream of the capture.
    """
    if stream is None:
        yield
        return
    outer = torch.cuda.current_stream(stream.device)
    stream.wait_stream(outer)
    with torch.cuda.stream(stream):
        yield
    outer.wait_stream(stream)


def cuda_graph(step: Step, device: torch.device) -> Step:
    """Captures a step, which does not run it. Raises RuntimeError if that is impossible, and leaves everything as it was."""
    stream, generator = torch.cuda.current_stream(device), torch.cuda.default_generators[device.index or 0]
    before = generator.clone_state()  # a capture that fails leaves the random numbers in the state of capturing
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):  # threads that read clips may go on
            result = step()
    except RuntimeError as error:
        torch.cuda.set_stream(stream)
        generator.graphsafe_set_state(before)
        raise RuntimeError(str(error.__context__ or error)) from error  # the first error, not that of ending the capture

    def replay() -> torch.Tensor:
        graph.replay()
        return result

    return replay


def is_capturing(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.is_current_stream_capturing()


def read_clips(split: Split, videos: np.ndarray, starts: np.ndarray, device: torch.device) -> torch.Tensor:
    """Clips uint8 [n, T, H, W, C] as `Split.clips`; for a GPU in pinned memory, from which it copies while the host goes on.

    PyTorch uses pinned memory again once no tensor refers to it and the copies from it are done.
    """
    if device.type != "cuda":
        return split.clips(videos, starts)
    pinned = torch.empty((len(videos), *split.spec.clip_shape), dtype=torch.uint8, pin_memory=True)
    split.clips(videos, starts, out=pinned.numpy())
    return pinned


class Pace:
    """Keeps the host at most IN_FLIGHT batches ahead of a GPU, so that the batches that wait fit in memory."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.batches = device, deque[torch.cuda.Event]()

    def batch_started(self) -> None:
        """Waits until the GPU has done all but the last IN_FLIGHT batches."""
        if self.device.type != "cuda":
            return
        self.batches.append(torch.cuda.Event())  # type: ignore[no-untyped-call]
        self.batches[-1].record(torch.cuda.current_stream(self.device))
        if len(self.batches) > IN_FLIGHT:
            self.batches.popleft().synchronize()
