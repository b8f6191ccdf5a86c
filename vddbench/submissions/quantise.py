"""Stores pixels in 8 bits, with a scale and an offset per channel if values leave 0-255, and motions, with one of each."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from vddbench.submissions.payload import dtype_name
from vddbench.submissions.tensors import value_range

CHUNK = 64  # clips compared at a time


def quantise(values: torch.Tensor, dtype: torch.dtype = torch.uint8) -> dict[str, torch.Tensor]:
    """Values [..., 3] on the 0-255 scale -> the tensor `pixels` of a dtype, and `scale` and `offset` if needed.

    Scale and offset are needed for uint8 if values leave 0-255, so that nothing is clipped: value = pixel * scale + offset.
    """
    low, high = value_range(values)
    if dtype != torch.uint8 or values.dtype == torch.uint8:
        return {"pixels": values.to(dtype).contiguous()}
    if low >= -0.5 and high <= 255.5:
        return {"pixels": values.round().clamp_(0, 255).to(torch.uint8).contiguous()}
    flat = values.reshape(-1, 3)
    least, most = flat.amin(0), flat.amax(0)
    scale = (most - least) / 255
    steps = torch.where(scale > 0, scale, 1.0)
    pixels = ((values - least) / steps).round_().clamp_(0, 255).to(torch.uint8)
    return {"pixels": pixels.contiguous(), "scale": scale, "offset": least}


def stored_motions(motions: torch.Tensor, dtype: torch.dtype = torch.uint8) -> dict[str, torch.Tensor]:
    """The tensors of motions for the decoder `static_dynamic`: 256 levels from the smallest to the largest value, or floats."""
    if dtype != torch.uint8:
        return {"dynamics": motions.to(dtype).contiguous()}
    low, high = value_range(motions)
    scale, offset = torch.tensor([(high - low) / 255 or 1.0]), torch.tensor([low])
    levels = ((motions - offset) / scale).round_().clamp_(0, 255).to(torch.uint8)
    return {"dynamics": levels.contiguous(), "dynamic_scale": scale, "dynamic_offset": offset}


def quantisation_error(values: torch.Tensor, stored: Mapping[str, torch.Tensor]) -> tuple[float, float]:
    """The largest and the mean absolute difference between values and what `quantise` made of them, in grey levels."""
    worst = total = 0.0
    for begin in range(0, len(values), CHUNK):
        decoded = stored["pixels"][begin : begin + CHUNK].float()
        if "scale" in stored:
            decoded = decoded * stored["scale"] + stored["offset"]
        error = (decoded - values[begin : begin + CHUNK].float()).abs()
        worst, total = max(worst, float(error.max())), total + float(error.sum(dtype=torch.float64))
    return worst, total / values.numel()


def storage_note(values: torch.Tensor, stored: Mapping[str, torch.Tensor]) -> str:
    """One line of a report: how `quantise` stored the values, how many leave 0-255, and the error. No value is clipped."""
    outside = sum(int(((part < -0.5) | (part > 255.5)).sum()) for part in values)
    how = ", with a scale and offset per channel" if "scale" in stored else ""
    worst, mean = quantisation_error(values, stored)
    return (
        f"stored: {dtype_name(stored['pixels'].dtype)}{how}; outside 0-255: {outside / values.numel():.2%} of the values, none "
        f"is clipped; quantisation error at most {worst:.3g}, mean {mean:.3g} of 255 grey levels"
    )
