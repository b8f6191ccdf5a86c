"""DSA: one random change is the same for real and synthetic clips and for all frames, and gradients pass through it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.builders.submissions import SPEC
from vddbench.distillation.augment import KINDS, Change, changed, draw

CHANGES = [Change(kind, amounts) for kind in KINDS for amounts in ((0.1, 0.9, 0.3), (0.7, 0.2, 0.6))]


def noise(count: int, seed: int) -> torch.Tensor:
    return torch.randn((count, 3, 4, 16, 16), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("change", CHANGES)
def test_real_and_synthetic_clips_and_all_frames_get_the_same_change(change: Change) -> None:
    real, synthetic = noise(2, 0), noise(1, 1)
    together = changed(torch.cat([real, synthetic]), change)
    torch.testing.assert_close(together, torch.cat([changed(real, change), changed(synthetic, change)]))
    still = synthetic[:, :, :1].expand(-1, -1, 4, -1, -1)
    moved = changed(still, change)
    assert moved.shape == still.shape and all(torch.equal(moved[:, :, 0], moved[:, :, t]) for t in range(4))
    assert torch.equal(changed(still, None), still)
    assert torch.allclose(moved, still) == (change == Change("flip", (0.7, 0.2, 0.6)))  # which does not mirror


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_pass_through_each_change(kind: str) -> None:
    x = noise(1, 0).double().requires_grad_()
    change = Change(kind, (0.3, 0.6, 0.8))
    weights = torch.randn(x.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    (changed(x, change) * weights).sum().backward()
    assert x.grad is not None
    move = torch.randn(x.shape, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    with torch.no_grad():
        slope = ((changed(x + 1e-4 * move, change) - changed(x - 1e-4 * move, change)) * weights).sum() / 2e-4
    assert float(slope) == pytest.approx(float((x.grad * move).sum()), rel=1e-6)


def test_every_kind_is_drawn_but_mirroring_only_where_labels_survive_it() -> None:
    kinds = {draw(np.random.default_rng(i), SPEC).kind for i in range(100)}
    handed = SPEC.model_copy(update={"hflip_keeps_label": False})
    assert kinds == set(KINDS)
    assert {draw(np.random.default_rng(i), handed).kind for i in range(100)} == set(KINDS) - {"flip"}


def test_a_crop_moves_a_pixel_and_a_cutout_blanks_a_quarter() -> None:
    x = torch.ones((1, 3, 4, 16, 16))
    down = changed(x, Change("crop", (0.999, 0.5, 0.0)))  # two pixels down, none sideways
    assert not down[..., :2, :].any() and bool(down[..., 2:, :].all())
    cut = changed(x, Change("cutout", (0.5, 0.5, 0.0)))
    assert int((cut[0, 0, 0] == 0).sum()) == 64 and not cut[..., 4:12, 4:12].any()
