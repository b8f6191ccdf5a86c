"""The decoder `basis`: clips are the matrix product of coefficients and bases; sizes and values out of bounds are refused."""

from __future__ import annotations

import pytest
import torch

from tests.builders.submissions import LABELS, SPEC
from vddbench.spec import Task
from vddbench.submissions.decoders import basis
from vddbench.submissions.decoders.factor import enlarged
from vddbench.submissions.rules import check_expansion

Tensors = dict[str, torch.Tensor]


def payload(side: int, bases: int = 2) -> Tensors:
    rng = torch.Generator().manual_seed(0)
    stored = torch.randint(0, 256, (bases, SPEC.frames, side, side, 3), generator=rng, dtype=torch.uint8)
    return {"basis": stored, "coefficients": torch.randn((3, bases), generator=rng), "labels": LABELS}


@pytest.mark.parametrize("side", [16, 8, 4])
def test_clips_are_the_matrix_product_enlarged(side: int) -> None:
    tensors = payload(side)
    product = (tensors["coefficients"] @ tensors["basis"].float().reshape(2, -1)).reshape(3, SPEC.frames, side, side, 3)
    decoded = basis.decode(tensors, SPEC)
    torch.testing.assert_close(decoded.clips, enlarged(product, SPEC.clip_shape[:3]))
    assert decoded.labels.tolist() == [0, 1, 2]
    affine = {"scale": torch.tensor([1.0, 2.0, 0.5]), "offset": torch.tensor([0.0, -9.0, 9.0])}
    moved = basis.decode({**tensors, **affine, "coefficients": torch.eye(2), "labels": LABELS[:2]}, SPEC).clips
    expected = enlarged(tensors["basis"] * affine["scale"] + affine["offset"], SPEC.clip_shape[:3])
    torch.testing.assert_close(moved, expected)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"basis": torch.zeros((2, 4, 3, 3, 3))}, r"'basis' has shape \[2, 4, 3, 3, 3\]; allowed: \[B, 4, 16, 16, 3\] or"),
        ({"basis": torch.zeros((2, 4, 16, 8, 3))}, "'basis' has shape"),
        ({"coefficients": torch.zeros((3, 5))}, r"'coefficients' has shape \[3, 5\]; allowed: \[N, B\] with B=2"),
        ({"coefficients": torch.full((3, 2), float("nan"))}, "'coefficients' holds nan"),
        ({"coefficients": torch.full((3, 2), 1e9)}, "decoded values reach from .* use smaller 'coefficients' or 'basis'"),
        ({"coefficients": torch.full((3, 2), 3e38)}, "decoded values reach from .* use smaller 'coefficients' or 'basis'"),
    ],
)
def test_hostile_sizes_and_values_are_refused(change: Tensors, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        basis.decode({**payload(16), **change}, SPEC)


def test_few_bytes_that_decode_to_too_much_are_refused_before_they_are_decoded() -> None:
    bomb = {"basis": torch.zeros((1, 4, 1, 1, 3)), "coefficients": torch.zeros((900, 1)), "labels": torch.zeros(900)}
    with pytest.raises(ValueError, match="payload decodes to 900 clips"):
        check_expansion(bomb, basis, Task(dataset="made", ipc=1), SPEC)
