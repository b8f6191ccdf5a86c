"""Clips from stills and single-channel motion, put together by a small 3-D convolution (2312.00362).

Of S video slots each has P stills and Q motions, and decodes to all P x Q pairs: statics [S, P, H, W, 3] uint8, float16 or
float32 on the 0-255 scale; dynamics [S, Q, T, H, W, 1] uint8, float16 or float32 in the network's own units;
hallucinator_weight [3, 4, 3, 3, 3] and hallucinator_bias [3] float32; labels [N] int or [N, K] float for the N = S*P*Q
decoded clips: slot by slot, in it still by still, in it motion by motion. Optional static_scale [3] and static_offset [3],
dynamic_scale [1] and dynamic_offset [1] float32: value = stored * scale + offset.

clip = convolution(channels: the normalised still at every frame, the motion), zero-padded by 1, in normalised units.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from vddbench.spec import ClipSet, DatasetSpec
from vddbench.submissions.tensors import MAX_VALUE, Want, affine, expect, label_want, labels, pixel_want, value_range

MAX_PAIRS = 64  # clips a slot; SDD uses 4
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
    """Clips are float32. Raises ValueError naming every tensor that is unknown, missing, misshapen or not finite."""
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
    """Before anything is made: a few stored bytes could decode to very many clips."""
    slots, stills, motions = sizes["S"], sizes["P"], sizes["Q"]
    if stills * motions > MAX_PAIRS:
        raise ValueError(
            f"tensors 'statics' and 'dynamics' make {stills} x {motions} = {stills * motions} clips a slot; "
            f"allowed: {MAX_PAIRS}; store more slots with fewer each"
        )
    if sizes["N"] != slots * stills * motions:
        raise ValueError(
            f"tensor 'labels' has {sizes['N']} rows; allowed: one a decoded clip, {slots} slots x {stills} statics x "
            f"{motions} dynamics = {slots * stills * motions}"
        )


def _values(tensors: Mapping[str, torch.Tensor], kind: str) -> torch.Tensor:
    """`statics` or `dynamics` as float32, with their scale and offset."""
    mine = {name: tensors[f"{kind}_{name}"] for name in ("scale", "offset") if f"{kind}_{name}" in tensors}
    try:
        return affine(mine, tensors[f"{kind}s"]).float()
    except ValueError as error:
        raise ValueError(f"tensor '{kind}s': {error} (of '{kind}_scale' and '{kind}_offset')") from error


@torch.no_grad()
def every_pair(
    statics: torch.Tensor, dynamics: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, spec: DatasetSpec
) -> torch.Tensor:
    """[S, P, H, W, 3] on the 0-255 scale, [S, Q, T, H, W, 1] -> [S*P*Q, T, H, W, 3] float32 on the 0-255 scale.

    Raises ValueError when values leave +-MAX_VALUE.
    """
    mean, std = torch.tensor(spec.mean) * 255, torch.tensor(spec.std) * 255
    stills, motions = ((statics - mean) / std).movedim(-1, 2), dynamics.movedim(-1, 2)
    num_slots, num_stills, num_motions = len(stills), stills.shape[1], motions.shape[1]
    clips = torch.empty((num_slots, num_stills, num_motions, *spec.clip_shape))
    for slot in range(num_slots):  # a slot at a time: the temporaries stay small
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
    """Normalised stills [N, 3, H, W] and motions [N, 1, T, H, W] -> normalised clips [N, 3, T, H, W], differentiable."""
    repeated = stills[:, :, None].expand(-1, -1, motions.shape[2], -1, -1)
    return F.conv3d(torch.cat([repeated, motions], 1), weight, bias, padding=1)
