"""A student that trains within milliseconds, and trainings that are killed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from vddbench.evaluation import evaluate as evaluating
from vddbench.evaluation import ready, record_fields, session
from vddbench.evaluation.resume import Checkpoint
from vddbench.spec import Recipe


def build(shape: tuple[int, int, int, int], num_classes: int) -> torch.nn.Module:
    """A linear network: fits two clips within a few steps."""
    size = torch.Size(shape).numel()
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout(0.1), torch.nn.Linear(size, num_classes))


def use_linear_student(monkeypatch: pytest.MonkeyPatch, lr: float = 0.01) -> None:
    """Every student is the linear one, whatever its name."""
    student = SimpleNamespace(RECIPE=Recipe(lr=lr), build=build)
    for module in (evaluating, ready, record_fields):
        monkeypatch.setattr(module, "load", lambda kind, name: student)
    monkeypatch.setattr(evaluating, "file_of", lambda kind, name: Path(__file__))


class Killed(Exception):
    """Stands for kill -9: nothing runs after it."""


@contextmanager
def killed_after(number: int) -> Iterator[None]:
    """A training in the block is saved after every step, and killed when `number` steps are saved."""
    write, writes = Checkpoint.write, []

    def write_and_die(self: Checkpoint, *arguments: Any) -> None:
        write(self, *arguments)
        writes.append(1)
        if len(writes) == number:
            raise Killed

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(session, "EVERY_SECONDS", -1.0)
        patch.setattr(Checkpoint, "write", write_and_die)
        yield
