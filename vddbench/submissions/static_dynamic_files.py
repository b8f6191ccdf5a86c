"""Reads stills, motions and a hallucinator, as released code of static-dynamic methods saves them (arXiv 2312.00362).

| file | option | content |
|---|---|---|
| `dynamic_best.pt` | the source | [K*Q, T, 1, H, W], in units of the network |
| `sta.pt` | `--statics` | [K*P, 3, H, W], normalised |
| `weights_best.pt`, `hal_100.pt` | `--hallucinator` | state dict of the convolution: [3, 4, 3, 3, 3] and [3] |

Both are sorted by class: the format has no labels. Class k is slot k of the decoder `static_dynamic`, which
makes all P x Q pairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from vddbench.spec import DatasetSpec
from vddbench.submissions.importers import choose_clips, listing, read_source
from vddbench.submissions.quantise import quantise
from vddbench.submissions.ranges import to_255, value_range_of

WEIGHT, BIAS = (3, 4, 3, 3, 3), (3,)


def static_dynamic_tensors(
    dynamics: Path,
    statics: Path | None,
    hallucinator: Path | None,
    spec: DatasetSpec,
    *,
    limit_bytes: int,
    value_range: str | None,
    dtype: torch.dtype,
    notes: list[str],
) -> dict[str, torch.Tensor]:
    """The tensors of the decoder `static_dynamic` from three files. value_range: of the stills.

    Raises ValueError if a file is missing or its shapes do not fit the dataset, FileNotFoundError.
    """
    if statics is None or hallucinator is None:
        raise ValueError(
            "the decoder static_dynamic needs three files: pack DYNAMICS --statics FILE --hallucinator FILE --decoder "
            "static_dynamic, e.g. dynamic_best.pt, sta.pt and weights_best.pt"
        )
    size, frames, classes = spec.size, spec.frames, spec.num_classes
    motions = _by_class(dynamics, (frames, 1, size, size), classes, limit_bytes, notes)
    stills = _by_class(statics, (3, size, size), classes, limit_bytes, notes)
    weight, bias = _convolution(hallucinator, limit_bytes)
    value_range_of(motions)
    stored_stills = quantise(to_255(stills.movedim(2, -1), value_range, notes), dtype)
    stored_motions = _eight_bits(motions.movedim(3, -1).float(), dtype)
    pairs = stills.shape[1] * motions.shape[1]
    notes.append(
        f"labels: by class, as the format has it: {stills.shape[1]} stills x {motions.shape[1]} motions = {pairs} clips of "
        f"class 0 ({spec.class_names[0]}) first, then class 1 ({spec.class_names[1]}), ..."
    )
    labels = torch.arange(classes).repeat_interleave(pairs)
    return {
        "statics": stored_stills.pop("pixels"),
        **{f"static_{name}": value for name, value in stored_stills.items()},
        **stored_motions,
        "hallucinator_weight": weight,
        "hallucinator_bias": bias,
        "labels": labels.to(torch.uint8 if classes <= 256 else torch.int16),
    }


def _by_class(path: Path, shape: tuple[int, ...], classes: int, limit_bytes: int, notes: list[str]) -> torch.Tensor:
    """The clips' tensor of a file, [K*n, ...] as [K, n, ...]."""
    tensors = read_source(path, limit_bytes).tensors
    name = choose_clips(tensors, None)
    tensor = tensors[name]
    if tuple(tensor.shape[1:]) != shape or len(tensor) % classes or not len(tensor) or not tensor.is_floating_point():
        raise ValueError(
            f"{path}: tensor {name!r} is {list(tensor.shape)} {tensor.dtype}; allowed: floats [n*{classes}, "
            f"{', '.join(map(str, shape))}], sorted by class"
        )
    notes.append(f"source: {path} tensor {name!r} {list(tensor.shape)}")
    return tensor.reshape(classes, -1, *shape)


def _convolution(path: Path, limit_bytes: int) -> tuple[torch.Tensor, torch.Tensor]:
    tensors = read_source(path, limit_bytes).tensors
    weights, biases = _of_shape(tensors, WEIGHT), _of_shape(tensors, BIAS)
    if len(weights) != 1 or len(biases) != 1:
        raise ValueError(
            f"{path} holds no single convolution {list(WEIGHT)} with a bias {list(BIAS)}: {listing(tensors)}; one hallucinator "
            "for all classes is read"
        )
    return weights[0].float().contiguous(), biases[0].float().contiguous()


def _of_shape(tensors: Mapping[str, torch.Tensor], shape: tuple[int, ...]) -> list[torch.Tensor]:
    return [tensor for tensor in tensors.values() if tuple(tensor.shape) == shape]


def _eight_bits(motions: torch.Tensor, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Motions in 256 steps from the smallest to the largest value, or as they are in a float dtype."""
    if dtype != torch.uint8:
        return {"dynamics": motions.to(dtype).contiguous()}
    low, high = motions.min(), motions.max()
    scale = torch.where(high > low, (high - low) / 255, 1.0)
    steps = ((motions - low) / scale).round_().clamp_(0, 255).to(torch.uint8)
    return {"dynamics": steps.contiguous(), "dynamic_scale": scale.reshape(1), "dynamic_offset": low.reshape(1)}
