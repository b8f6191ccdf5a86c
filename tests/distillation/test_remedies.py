"""A message names a setting that exists, the file that holds it, and a preset only if that helps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vddbench.baselines import dm, dm_basis, herding, mtt, prism, rded, sre2l
from vddbench.data.store import Store
from vddbench.distillation import experts, teacher
from vddbench.distillation.contract import CannotServe
from vddbench.distillation.features import random_net
from vddbench.distillation.remedies import MemoryRanOut, enough_memory, explained
from vddbench.distillation.run import rounding_error
from vddbench.lookup import load
from vddbench.spec import Task

CPU = torch.device("cpu")
TASK = Task(dataset="tiny", ipc=1)
GPU_FULL, MACHINE_FULL = torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: not enough memory")


def told(method: str, config: Any, error: Exception) -> str:
    """The message of an error that a method raises, as the user reads it."""
    with (
        pytest.raises(type(error)) as refusal,
        explained(method, TASK, config, getattr(load("baseline", method), "PRESETS", {})),
    ):
        raise error
    return str(refusal.value)


def out_of(memory: Exception, knob: str = "") -> MemoryRanOut:
    with pytest.raises(MemoryRanOut) as refusal, enough_memory("at iteration 7", knob):
        raise memory
    return refusal.value


@pytest.mark.parametrize(
    ("method", "config", "knob", "helps"),
    [
        ("dm", dm.Config(), "real_per_class", True),
        ("dm", dm.PRESETS["fast"], "real_per_class", False),
        ("dm", dm.PRESETS["fast_dsa"], "real_per_class", False),
        ("dm", dm.PRESETS["smoke"], "real_per_class", False),
        ("mtt", mtt.Config(), "expert_batch", True),
        ("sre2l", sre2l.Config(), "teacher_batch", True),
        ("rded", rded.Config(), "batch", False),  # fast has fewer videos, in batches of the same size
    ],
)
def test_out_of_memory_names_the_file_and_the_preset_fast_if_that_needs_less(
    method: str, config: Any, knob: str, helps: bool
) -> None:
    message = told(method, config, out_of(GPU_FULL, knob))
    file = message.partition(f"lower {knob} in ")[2].removesuffix(", or use --preset fast")
    assert Path(file).name == f"{method}.py" and Path(file).is_file()
    assert message.endswith(", or use --preset fast") == helps


def test_without_a_setting_to_lower_out_of_memory_says_what_else_helps() -> None:
    on_gpu, here = (told("herding", herding.Config(), out_of(error)) for error in (GPU_FULL, MACHINE_FULL))
    assert "the GPU's memory ran out" in on_gpu and "GPU with more memory" in on_gpu and "CUDA_VISIBLE_DEVICES" in on_gpu
    assert here.startswith("this machine's memory ran out at iteration 7") and here.endswith("use a machine with more memory")
    assert "lower" not in on_gpu + here and "preset" not in on_gpu + here


def test_a_method_that_cannot_serve_a_task_names_it_once() -> None:
    refusal = told("random", None, CannotServe("class 'a' of tiny has 4 train videos, 5 are needed; use a smaller ipc"))
    assert refusal == "random on tiny-ipc1: class 'a' of tiny has 4 train videos, 5 are needed; use a smaller ipc"
    assert told("dm", None, CannotServe("tiny-ipc1 allows 3 bytes")) == "tiny-ipc1 allows 3 bytes"
    assert told("dm", None, CannotServe("dm needs 2 slots")) == "dm needs 2 slots"
    assert told("dm", None, ValueError("a file is damaged")) == "a file is damaged"


@pytest.mark.parametrize("method", [dm_basis, prism])
def test_values_that_are_finite_and_too_large_name_the_method_s_file(method: Any, tiny: Store) -> None:
    config = method.PRESETS["smoke"]
    learner = method.learner(tiny.train, TASK, config, 0, CPU)
    with torch.no_grad():
        next(iter(learner.memory.parameters.values())).mul_(1e6)
    name = method.__name__.rpartition(".")[2]
    with (
        pytest.raises(ValueError, match=rf"values reach from .*; the learning rates are in /.*/{name}\.py$"),
        explained(name, TASK, config, {}),
    ):
        rounding_error(learner, method.DECODER, tiny.train)


def full(*args: Any, **settings: Any) -> Any:
    raise GPU_FULL


def test_teachers_features_and_experts_name_what_their_methods_have(
    tiny: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VDDBENCH_HOME", str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(teacher, "to_input", full)
        with pytest.raises(MemoryRanOut, match=r"while the teacher's features were computed; .*: use a GPU with more memory"):
            teacher.embed(random_net(tiny.spec, 0, CPU), tiny.train, np.arange(2), np.zeros(2, np.int64))
    monkeypatch.setattr(teacher, "train", full)
    monkeypatch.setattr(experts, "BatchGradient", full)
    few = tiny.train.only(np.arange(len(tiny.train)) < 3)
    with pytest.raises(MemoryRanOut, match=r"while the teacher trained; .*: use a GPU with more memory"):
        rded.distill(tiny.train, TASK, rded.PRESETS["smoke"], np.random.default_rng(0))
    with pytest.raises(MemoryRanOut, match=r"while the teacher trained; .*: lower teacher_batch in"):
        sre2l.learner(tiny.train, TASK, sre2l.PRESETS["smoke"], 0, CPU)
    with pytest.raises(MemoryRanOut, match=r"while experts trained; .*: lower expert_batch in"):
        experts.trajectories(few, experts.Experts(num=1, epochs=1, batch=2), CPU)
