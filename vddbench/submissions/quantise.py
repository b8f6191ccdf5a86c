"""Pixels as they are stored: uint8, with a scale and an offset per channel where values leave 0-255."""

from __future__ import annotations

import torch

from vddbench.submissions.tensors import value_range as range_of

CHUNK = 64  # clips compared at a time


def quantise(values: torch.Tensor, dtype: torch.dtype, report: list[str]) -> dict[str, torch.Tensor]:
    """`pixels`, and `scale` and `offset` where uint8 has to reach outside 0-255, so that nothing is clipped."""
    affine: dict[str, torch.Tensor] = {}
    low, high = range_of(values)
    if dtype != torch.uint8 or values.dtype == torch.uint8:
        pixels = values.to(dtype)
    elif low >= -0.5 and high <= 255.5:
        pixels = values.round().clamp_(0, 255).to(torch.uint8)
    else:
        flat = values.reshape(-1, 3)
        least, most = flat.amin(0), flat.amax(0)
        affine = {"scale": (most - least) / 255, "offset": least}
        steps = torch.where(affine["scale"] > 0, affine["scale"], 1.0)
        pixels = ((values - least) / steps).round_().clamp_(0, 255).to(torch.uint8)
    worst, mean = _errors(values, pixels, affine)
    how = ", with a scale and offset per channel because values leave 0-255" if affine else ""
    report.append(
        f"stored: {str(dtype).removeprefix('torch.')}{how}; quantisation error at most {worst:.3g}, mean {mean:.3g} "
        "of 255 grey levels"
    )
    return {"pixels": pixels.contiguous(), **affine}


def _errors(values: torch.Tensor, pixels: torch.Tensor, affine: dict[str, torch.Tensor]) -> tuple[float, float]:
    """Largest and mean absolute difference between what is decoded and what was given."""
    worst = total = 0.0
    for begin in range(0, len(values), CHUNK):
        kept = pixels[begin : begin + CHUNK].float()
        decoded = kept * affine["scale"] + affine["offset"] if affine else kept
        error = (decoded - values[begin : begin + CHUNK].float()).abs()
        worst, total = max(worst, float(error.max())), total + float(error.sum(dtype=torch.float64))
    return worst, total / values.numel()
