"""What a student sees of a clip depends on that clip alone, not on the batch, the brightness or the contrast."""

from __future__ import annotations

import pytest
import torch

from vddbench.evaluation.students._standardise import Standardise
from vddbench.lookup import load, names

SHAPE = (8, 64, 64, 3)


def clips(count: int, seed: int = 0) -> torch.Tensor:
    """Normalised clips [count, C, T, H, W] in the memory layout that students get."""
    frames = torch.rand((count, *SHAPE), generator=torch.Generator().manual_seed(seed))
    return frames.permute(0, 4, 1, 2, 3) * 0.3 + 1


def test_each_clip_has_mean_zero_and_deviation_one_whatever_else_is_in_the_batch() -> None:
    x, layer = clips(5), Standardise()
    seen = layer(x)
    torch.testing.assert_close(seen.mean((1, 2, 3, 4)), torch.zeros(5), atol=1e-5, rtol=0)
    torch.testing.assert_close(seen.std((1, 2, 3, 4), correction=0), torch.ones(5), atol=1e-4, rtol=0)
    assert torch.equal(layer(x[2:3]), seen[2:3]) and torch.equal(layer(x.flip(0)).flip(0), seen)
    assert seen.stride() == x.stride()  # the layout that convolutions are fast in


def test_the_noise_of_a_uniform_clip_is_not_blown_up() -> None:
    uniform = torch.full((1, 3, 8, 8, 8), 0.5)
    assert Standardise()(uniform).abs().max() == 0
    noisy = uniform + 1e-4 * torch.randn(uniform.shape, generator=torch.Generator().manual_seed(0))
    assert Standardise()(noisy).abs().max() < 0.1


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.long if n == "convnet_lstm" else ()) for n in names("student")]
)  # convnet_lstm has 2 GB of weights
def test_pixels_far_outside_the_usual_range_are_no_learning_rate_of_their_own(name: str) -> None:
    """A set stored with nine times the contrast gives the same logits and so the same gradients."""
    torch.manual_seed(0)
    student, x = load("student", name).build(SHAPE, 7).eval(), clips(2)
    with torch.no_grad():
        torch.testing.assert_close(student(9 * x - 4), student(x), atol=1e-4, rtol=1e-3)
