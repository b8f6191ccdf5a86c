"""The decoder `factor`: small clips in a grid are enlarged; grids that do not fit, or decode to too much, are refused."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from tests.builders.submissions import LABELS, SPEC, clips
from vddbench.spec import Task
from vddbench.submissions.decoders import factor, pixels
from vddbench.submissions.decoders.factor import Factor, cells, enlarged, mosaic
from vddbench.submissions.rules import check_expansion

FACTORS = [Factor(2, 1), Factor(1, 2), Factor(2, 2), Factor(4, 4)]
Tensors = dict[str, torch.Tensor]


def payload(stored: torch.Tensor, space: int, time: int) -> Tensors:
    return {"clips": stored, "factor": torch.tensor([space, time], dtype=torch.uint8), "labels": LABELS.to(torch.uint8)}


@pytest.mark.parametrize("grid", FACTORS)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_clips_of_one_colour_are_decoded_exactly_in_the_order_of_the_grid(grid: Factor, dtype: torch.dtype) -> None:
    frames, size = SPEC.frames // grid.time, SPEC.size // grid.space
    colours = torch.randint(0, 256, (3 * grid.copies, 1, 1, 1, 3), generator=torch.Generator().manual_seed(0)).to(dtype)
    stored = mosaic(colours.expand(-1, frames, size, size, -1), grid)
    assert stored.shape == (3, *SPEC.clip_shape) and torch.equal(stored[0, -1, -1, -1], colours[grid.copies - 1, 0, 0, 0])
    decoded = factor.decode(payload(stored, *grid), SPEC)
    assert decoded.clips.dtype == dtype and torch.equal(decoded.clips, colours.expand(-1, *SPEC.clip_shape))
    assert decoded.labels.tolist() == [label for label in range(3) for _ in range(grid.copies)]


def test_enlarging_is_the_usual_trilinear_interpolation_and_one_clip_a_grid_is_the_clip() -> None:
    small = torch.randn((2, 2, 5, 5, 3), generator=torch.Generator().manual_seed(0))
    usual = F.interpolate(small.movedim(-1, 1), size=(4, 16, 16), mode="trilinear", align_corners=False)
    torch.testing.assert_close(enlarged(small, (4, 16, 16)), usual.movedim(1, -1))
    torch.testing.assert_close(enlarged(small.movedim(-1, 1), (4, 16, 16), first=2), usual)
    stored = clips()
    assert torch.equal(factor.decode(payload(stored, 1, 1), SPEC).clips, stored)
    assert torch.equal(mosaic(cells(stored, Factor(4, 2)), Factor(4, 2)), stored)


def test_uint8_is_rounded_to_the_nearest_grey_level() -> None:
    stored = clips()
    rounded, exact = (factor.decode(payload(x, 2, 2), SPEC).clips for x in (stored, stored.float()))
    assert rounded.dtype == torch.uint8 and (rounded.float() - exact).abs().max() <= 0.5


def test_eight_clips_of_a_stored_one_cost_the_bytes_of_one_and_two_more() -> None:
    stored = clips()
    ordinary, grid = {"clips": stored, "labels": LABELS.to(torch.uint8)}, payload(stored, 2, 2)
    assert sum(t.nbytes for t in grid.values()) == sum(t.nbytes for t in ordinary.values()) + 2
    assert len(factor.decode(grid, SPEC)) == 8 * len(pixels.decode(ordinary, SPEC))


@pytest.mark.parametrize(("space", "time"), [(0, 1), (1, 0), (3, 1), (1, 3), (16, 4), (255, 255), (32, 1)])
def test_a_grid_that_does_not_fit_is_refused(space: int, time: int) -> None:
    with pytest.raises(ValueError, match=rf"tensor 'factor': factor \({space}, {time}\) cannot divide clips of 4 frames of"):
        factor.decode(payload(clips(), space, time), SPEC)


@pytest.mark.parametrize("bad", [torch.tensor([2, 2]), torch.ones(3, dtype=torch.uint8), torch.tensor(2, dtype=torch.uint8)])
def test_a_misshapen_factor_is_refused_by_name(bad: torch.Tensor) -> None:
    tensors = {**payload(clips(), 2, 2), "factor": bad}
    assert factor.clips_per_label(tensors) == factor.clips_per_label({}) == 1
    with pytest.raises(ValueError, match=r"tensor 'factor' has .*; allowed: "):
        factor.decode(tensors, SPEC)


def test_memory_is_counted_for_all_clips_before_anything_is_decoded() -> None:
    """3 clips of float32 with 64 copies each: 256 times the memory of their bytes."""
    tensors, task = payload(clips().to(torch.float16), 4, 4), Task(dataset="made", ipc=1)
    with pytest.raises(ValueError, match=r"payload decodes to 192 clips = .* bytes of memory; allowed: "):
        check_expansion(tensors, factor, task, SPEC)
    check_expansion(payload(clips(), 4, 2), factor, task, SPEC)
