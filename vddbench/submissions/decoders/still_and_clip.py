"""Decoder `still_and_clip`: a still and a smaller clip, mixed by one convolution of size 1 (SFVD-T, arXiv 2512.14621).

| tensor | shape | dtype | |
|---|---|---|---|
| stills | [N, H, W, 3] | uint8, float16, float32 | on the 0-255 scale |
| clips | [N, t, h, h, 3] | uint8, float16, float32 | on the 0-255 scale; t at most T, h at most H |
| weight | [3, 6] | float32 | of the convolution: colours x (the still's, then the clip's) |
| bias | [3] | float32 | of the convolution |
| labels | [N] or [N, K] | int, or float16, float32 | class indices, or probabilities |
| scale, offset | [3] each | float32 | optional: value of a still = stills * scale + offset per channel |

Each clip is enlarged to T frames of H x W by the linear interpolation of decoder `factor`. The still, repeated at every frame,
and the enlarged clip are normalised with the mean and standard deviation of the dataset; so is the output of the convolution,
which is brought back to the 0-255 scale. The arithmetic is float32.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch.nn import functional as F  # noqa: N812 - the usual name

from vddbench.spec import ClipSet, DatasetSpec
from vddbench.submissions.decoders.factor import enlarged
from vddbench.submissions.tensors import AFFINE, Want, affine, expect, label_want, labels, pixel_want

FLOAT32 = (torch.float32,)


def decode(tensors: Mapping[str, torch.Tensor], spec: DatasetSpec) -> ClipSet:
    """Clips as float32. Raises ValueError with a line for each wrong tensor, or for clips larger than those of the dataset."""
    wanted = {
        "stills": pixel_want("N", *spec.clip_shape[1:]),
        "clips": pixel_want("N", "t", "h", "h", 3),
        "weight": Want(((3, 6),), FLOAT32),
        "bias": Want(((3,),), FLOAT32),
        "labels": label_want(spec),
    }
    sizes = expect(tensors, wanted, AFFINE)
    if sizes["t"] > spec.frames or sizes["h"] > spec.size:
        raise ValueError(
            f"tensor 'clips' has clips of {sizes['t']} frames of {sizes['h']} x {sizes['h']} pixels; allowed: at most "
            f"{spec.frames} of {spec.size} x {spec.size}, which they are enlarged to"
        )
    targets = labels(tensors, spec)
    mean, std = torch.tensor(spec.mean) * 255, torch.tensor(spec.std) * 255
    stills = ((affine(tensors, tensors["stills"]).float() - mean) / std).movedim(-1, 1)
    clips = torch.empty((sizes["N"], *spec.clip_shape))
    for n in range(sizes["N"]):  # one clip at a time, to keep temporaries small
        large = enlarged(tensors["clips"][n : n + 1].float(), spec.clip_shape[:3])
        moving = ((large - mean) / std).movedim(-1, 1)
        clips[n] = mixed(stills[n : n + 1], moving, tensors["weight"], tensors["bias"])[0].movedim(0, -1) * std + mean
    return ClipSet(clips=clips, labels=targets)


def mixed(stills: torch.Tensor, moving: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Normalised [N, 3, H, W] and [N, 3, T, H, W] -> normalised [N, 3, T, H, W]. Differentiable."""
    repeated = stills[:, :, None].expand_as(moving)
    return F.conv3d(torch.cat([repeated, moving], 1), weight[:, :, None, None, None], bias)
