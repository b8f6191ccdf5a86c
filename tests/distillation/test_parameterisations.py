"""Memories that decode to more clips than they store: what they learn from is what their payload decodes to."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.builders.submissions import SPEC, clips
from vddbench.distillation.parameterisations import Combined, Factored, bases_that_fit, first_coefficients, reduced
from vddbench.evaluation.train import to_input
from vddbench.spec import Task
from vddbench.submissions.decoders import basis, factor
from vddbench.submissions.decoders.factor import Factor

CPU = torch.device("cpu")
RNG = np.random.default_rng(0)


@pytest.mark.parametrize("grid", [Factor(2, 1), Factor(1, 2), Factor(2, 2)])
def test_a_grid_decodes_to_the_clips_that_it_was_learned_as(grid: Factor) -> None:
    labels = torch.arange(3).repeat_interleave(2 * grid.copies)
    memory = Factored(clips(6 * grid.copies), labels, grid, SPEC, CPU)
    with torch.no_grad():
        memory.parameters["clips"] += 2 * torch.randn_like(memory.parameters["clips"])  # beyond 0-255
    exact = memory.exact()
    learned_from = memory.clips(RNG).detach()
    torch.testing.assert_close(learned_from, to_input(exact.clips, SPEC, CPU), atol=1e-4, rtol=0)
    tensors = memory.tensors()
    assert tensors["clips"].shape == (6, *SPEC.clip_shape) and tensors["clips"].dtype == torch.uint8
    decoded = factor.decode(tensors, SPEC)
    assert (decoded.clips.float() - exact.clips).abs().max() < 2 and torch.equal(decoded.labels, labels)
    assert sum(t.nbytes for t in tensors.values()) <= 6 * (SPEC.clip_bytes + 8)


def test_a_small_clip_is_the_mean_of_blocks_and_its_gradient_reaches_every_pixel() -> None:
    x = clips(1).float()
    small = reduced(x, Factor(2, 2))
    torch.testing.assert_close(small[0, 1, 2, 3], x[0, 2:4, 4:6, 6:8].mean((0, 1, 2)))
    memory = Factored(clips(12), torch.arange(3).repeat_interleave(4), Factor(2, 1), SPEC, CPU)
    memory.clips(RNG).square().sum().backward()  # type: ignore[no-untyped-call]
    assert memory.parameters["clips"].grad is not None and bool((memory.parameters["clips"].grad != 0).all())


@pytest.mark.parametrize("smooth", [0.0, 1.0])
def test_combinations_decode_to_the_clips_that_they_were_learned_as_within_the_budget(smooth: float) -> None:
    task = Task(dataset="made", ipc=1)
    count = bases_that_fit(task, SPEC, 8, per_class=2)
    assert count == 11  # 3 clips of 4x16x16x3 and 8 bytes each; a basis has a quarter of that, and 6 coefficients
    start = reduced(clips(count), Factor(2, 1))
    memory = Combined(start, torch.arange(count) % 3, 2, SPEC, CPU, smooth)
    torch.testing.assert_close(memory.exact().clips[0], factor.enlarged(start[[0, 6]].mean(0, keepdim=True), (4, 16, 16))[0])
    with torch.no_grad():
        for value in memory.parameters.values():
            value.add_(torch.randn(value.shape, generator=torch.Generator().manual_seed(0)), alpha=0.3)
    exact = memory.exact()
    torch.testing.assert_close(memory.clips(RNG).detach(), to_input(exact.clips, SPEC, CPU), atol=1e-4, rtol=0)
    tensors = memory.tensors()
    assert sum(t.nbytes for t in tensors.values()) <= (task.budget_bytes(SPEC) or 0)
    decoded = basis.decode(tensors, SPEC)
    assert (decoded.clips - exact.clips).abs().max() < 4 and decoded.labels.tolist() == [0, 0, 1, 1, 2, 2]
    memory.clips(RNG).square().sum().backward()  # type: ignore[no-untyped-call]
    assert all(value.grad is not None and bool((value.grad != 0).any()) for value in memory.parameters.values())


def test_first_coefficients_are_means_of_the_bases_of_a_class_or_of_all() -> None:
    rows = first_coefficients(torch.tensor([0, 1, 0, 0]), 2, 3)
    expected = [[0.5, 0, 0, 0.5], [0, 0, 1, 0], [0, 1, 0, 0], [0, 1, 0, 0], [0.25] * 4, [0.25] * 4]
    assert torch.equal(rows, torch.tensor(expected))
