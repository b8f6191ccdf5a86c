"""A student that trains within milliseconds."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from vddbench.evaluation import evaluate as evaluating
from vddbench.evaluation import ready, record_fields
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
