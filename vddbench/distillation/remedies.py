"""What messages of methods advise: which setting to change, in which file.

The code that fails knows the setting, `distill` knows the method: messages say "the method's file", and `explained` puts its
path there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from vddbench.distillation.contract import CannotServe
from vddbench.lookup import file_of
from vddbench.spec import Task

METHOD_FILE = "the method's file"
TOO_LARGE = "values reach from"  # in what decoders say of values that are finite and too large


class MemoryRanOut(ValueError):
    """The memory of the GPU or of the machine ran out."""

    def __init__(self, message: str, knob: str = "") -> None:
        super().__init__(message)
        self.knob = knob  # the field of the method's Config to lower, "" if none helps


@contextmanager
def enough_memory(when: str, knob: str = "") -> Iterator[None]:
    """Turns an out-of-memory error of the GPU or the machine into a ValueError that says to lower the Config's field `knob`.

    knob: "" if no field helps; the message then says what else does.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        on_gpu = isinstance(error, torch.OutOfMemoryError)
        if not on_gpu and not isinstance(error, MemoryError) and "DefaultCPUAllocator" not in str(error):
            raise
        if knob:
            advice = f"lower {knob} in {METHOD_FILE}"
        elif on_gpu:
            advice = "use a GPU with more memory, or set the environment variable CUDA_VISIBLE_DEVICES to nothing for the CPU"
        else:
            advice = "use a machine with more memory"
        where = "the GPU" if on_gpu else "this machine"
        raise MemoryRanOut(f"{where}'s memory ran out {when}; what was saved before is kept: {advice}", knob) from error


def diverged(what: str) -> ValueError:
    """The error for a set whose values are lost or too large to store."""
    return ValueError(f"{what}: lower the learning rates in {METHOD_FILE}")


@contextmanager
def explained(method: str, task: Task, config: Any, presets: Mapping[str, Any]) -> Iterator[None]:
    """Completes the messages of a method: with its file's path, what it cannot serve, and --preset fast if that helps.

    The file is also named where a decoder refuses what was learned as too large, because it holds the learning rates.
    presets: all presets of the method. `fast` helps against a lack of memory if it has a lower value of the field to lower.
    """
    try:
        yield
    except ValueError as error:
        message = str(error)
        if TOO_LARGE in message:
            message += f"; the learning rates are in {METHOD_FILE}"
        if METHOD_FILE in message:
            message = message.replace(METHOD_FILE, str(file_of("baseline", method)))
        if isinstance(error, MemoryRanOut) and error.knob and "fast" in presets:
            faster, current = (getattr(one, error.knob) for one in (presets["fast"], config))
            message += ", or use --preset fast" if faster < current else ""
        if isinstance(error, CannotServe) and not any(name in message for name in (method, str(task))):
            message = f"{method} on {task}: {message}"
        if message != str(error):
            error.args = (message,)
        raise
