"""Decoder `static_dynamic`: stills and single-channel motion, combined by a small 3-D convolution (arXiv 2312.00362).

Each of S slots stores P stills and Q motions and decodes to all P x Q pairs, so N = S*P*Q clips.

| tensor | shape | dtype | |
|---|---|---|---|
| statics | [S, P, H, W, 3] | uint8, float16, float32 | on the 0-255 scale |
| dynamics | [S, Q, T, H, W, 1] | uint8, float16, float32 | in units of the network |
| hallucinator_weight | [3, 4, 3, 3, 3] | float32 | of the convolution |
| hallucinator_bias | [3] | float32 | of the convolution |
| labels | [N] or [N, K] | int, or float16, float32 | class indices, or probabilities; ordered by slot, still, motion |
| static_scale, static_offset | [3] each | float32 | optional: value = statics * scale + offset per channel |
| dynamic_scale, dynamic_offset | [1] each | float32 | optional: value = dynamics * scale + offset |

The input of the convolution has 4 channels: the normalised still, repeated at every frame, and the motion. It is zero-padded
by 1. Its output is the normalised clip, brought to the 0-255 scale with the mean and standard deviation of the dataset.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch.nn import functional as F  # noqa: N812 - the usual name

from vddbench.spec import ClipSet, DatasetSpec
from vddbench.submissions.tensors import MAX_VALUE, Want, affine, expect, label_want, labels, pixel_want, value_range

MAX_PAIRS = 64  # clips per slot; SDD uses 4
FLOAT32 = (torch.float32,)
HALLUCINATOR: Mapping[str, Want] = {
    "hallucinator_weight": Want(((3, 4, 3, 3, 3),), FLOAT32),
    "hallucinator_bias": Want(((3,),), FLOAT32),
}
AFFINES: Mapping[str, Want] = {
    "static_scale": Want(((3,),), FLOAT32),
    "static_offset": Want(((3,),), FLOAT32),
    "dynamic_scale": Want(((1,),), FLOAT32),
    "dynamic_offset": Want(((1,),), FLOAT32),
}


def decode(tensors: Mapping[str, torch.Tensor], spec: DatasetSpec) -> ClipSet:
    """Clips as float32. Raises ValueError with a line for each wrong tensor, for too many clips or too large values."""
    frames, height, width, _ = spec.clip_shape
    wanted = {
        "statics": pixel_want("S", "P", height, width, 3),
        "dynamics": pixel_want("S", "Q", frames, height, width, 1),
        **HALLUCINATOR,
        "labels": label_want(spec),
    }
    sizes = expect(tensors, wanted, AFFINES)
    _check_counts(sizes)
    targets = labels(tensors, spec)
    statics, dynamics = _values(tensors, "static"), _values(tensors, "dynamic")
    weight, bias = tensors["hallucinator_weight"], tensors["hallucinator_bias"]
    return ClipSet(clips=every_pair(statics, dynamics, weight, bias, spec), labels=targets)


def _check_counts(sizes: Mapping[str, int]) -> None:
    """Raises ValueError for too many clips, before any is made: a few stored bytes could decode to very many."""
    slots, stills, motions = sizes["S"], sizes["P"], sizes["Q"]
    if stills * motions > MAX_PAIRS:
        raise ValueError(
            f"tensors 'statics' and 'dynamics' make {stills} x {motions} = {stills * motions} clips per slot; "
            f"allowed: {MAX_PAIRS}; store more slots with fewer each"
        )
    if sizes["N"] != slots * stills * motions:
        raise ValueError(
            f"tensor 'labels' has {sizes['N']} rows; allowed: one per decoded clip, {slots} slots x {stills} statics x "
            f"{motions} dynamics = {slots * stills * motions}"
        )


def _values(tensors: Mapping[str, torch.Tensor], kind: str) -> torch.Tensor:
    """`statics` or `dynamics` as float32, with scale and offset applied."""
    affine_tensors = {name: tensors[f"{kind}_{name}"] for name in ("scale", "offset") if f"{kind}_{name}" in tensors}
    try:
        return affine(affine_tensors, tensors[f"{kind}s"]).float()
    except ValueError as error:
        raise ValueError(f"tensor '{kind}s': {error} (here '{kind}_scale' and '{kind}_offset')") from error


@torch.no_grad()
def every_pair(
    statics: torch.Tensor, dynamics: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, spec: DatasetSpec
) -> torch.Tensor:
    """[S, P, H, W, 3] on the 0-255 scale, [S, Q, T, H, W, 1] -> [S*P*Q, T, H, W, 3] float32 on the 0-255 scale.

    Raises ValueError if a value is beyond +-MAX_VALUE.
    """
    mean, std = torch.tensor(spec.mean) * 255, torch.tensor(spec.std) * 255
    stills, motions = ((statics - mean) / std).movedim(-1, 2), dynamics.movedim(-1, 2)
    num_slots, num_stills, num_motions = len(stills), stills.shape[1], motions.shape[1]
    clips = torch.empty((num_slots, num_stills, num_motions, *spec.clip_shape))
    for slot in range(num_slots):  # one slot at a time, to keep temporaries small
        for p in range(num_stills):
            still = stills[slot, p].expand(num_motions, -1, -1, -1)
            clips[slot, p] = hallucinate(still, motions[slot], weight, bias).movedim(1, -1) * std + mean
    low, high = value_range(clips)
    if not (low >= -MAX_VALUE and high <= MAX_VALUE):
        raise ValueError(
            f"decoded values reach from {low:.6g} to {high:.6g}; allowed: -{MAX_VALUE:g} to {MAX_VALUE:g} on the 0-255 "
            "scale; use smaller 'hallucinator_weight' or 'dynamics'"
        )
    return clips.flatten(0, 2)


def hallucinate(stills: torch.Tensor, motions: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Normalised stills [N, 3, H, W] and motions [N, 1, T, H, W] -> normalised clips [N, 3, T, H, W]. Differentiable."""
    repeated = stills[:, :, None].expand(-1, -1, motions.shape[2], -1, -1)
    return F.conv3d(torch.cat([repeated, motions], 1), weight, bias, padding=1)
