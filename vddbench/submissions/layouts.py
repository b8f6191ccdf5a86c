"""The order of the dimensions of a research tensor: stated by `pack --layout`, or detected if only one order fits.

Frames of another size fit only with `pack --resize`, which scales them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import interpolate

from vddbench.spec import DatasetSpec
from vddbench.submissions.payload import dtype_name

LAYOUTS = {  # by decoder, in the order of detection; K is a class axis before the clips of a class
    "pixels": ("NTHWC", "NCTHW", "NTCHW", "KNTHWC", "KNCTHW", "KNTCHW"),
    "still": ("NHWC", "NCHW", "KNHWC", "KNCHW"),
}
STORED = {"pixels": "NTHWC", "still": "NHWC"}


@dataclass(frozen=True, kw_only=True)
class Arranged:
    """Clips (or frames) with their dimensions in the order of the decoder: [N, T, H, W, 3] or [N, H, W, 3]."""

    values: torch.Tensor
    decoder: str
    layout: str  # the order as it was read
    has_class_axis: bool  # the first of the stored dimensions was K: the clips are sorted by class


def described(name: str, tensor: torch.Tensor) -> str:
    """The name, shape and dtype of a tensor, for messages."""
    return f"tensor{f' {name!r}' if name else ''} {list(tensor.shape)} {dtype_name(tensor.dtype)}"


def arrange(
    tensor: torch.Tensor,
    spec: DatasetSpec,
    layout: str | None,
    decoder: str | None,
    resize: bool,
    notes: list[str],
    *,
    by_class: bool = False,
) -> Arranged:
    """Orders the dimensions, as a view if possible. Raises ValueError unless exactly one layout fits.

    resize: frames may be squares of another size, which the caller scales. by_class: they have no labels and are sorted by
    class, so that stills of each class are possible where clips fit.
    """
    if 0 in tensor.shape:
        raise ValueError(f"the clips are {list(tensor.shape)}: there is none")
    allowed = [name for kind, names in LAYOUTS.items() if decoder in {None, kind} for name in names]
    if layout is None:
        fitting = [name for name in allowed if not _misfit(name, tensor, spec, resize)]
        moving = [name for name in fitting if "T" in name]
        others = [name for name in fitting if name not in moving] if moving else []
        fitting = moving or fitting  # prefers T frames of a clip to T stills of a class
        how = "detected"
        stills = f"{spec.frames} stills of each class, and not clips of {spec.frames} frames"
        notes += [f"if these are {stills}: --layout {name}" for name in others if by_class]
    else:
        kind = {frozenset("NTHWC"): "pixels", frozenset("NHWC"): "still"}.get(frozenset(layout) - {"K"})
        if kind is None or len(set(layout)) != len(layout) or decoder not in {None, kind}:
            raise ValueError(f"--layout {layout[:40]!r} does not order the letters of one of: {', '.join(allowed)}")
        if why := _misfit(layout, tensor, spec, resize):
            raise ValueError(f"--layout {layout} does not fit {list(tensor.shape)}: {why}")
        fitting, how = [layout], "as stated"
    if not fitting:
        raise ValueError(f"shape {list(tensor.shape)} fits no layout; {_next_step(tensor, spec, allowed)}")
    if len(fitting) > 1:
        raise ValueError(
            f"shape {list(tensor.shape)} could be {' or '.join(fitting)}; clips here have {_sizes(spec)}: say which with "
            + " or ".join(f"--layout {name}" for name in fitting)
        )
    return _permuted(tensor, fitting[0], how, notes)


def _permuted(tensor: torch.Tensor, layout: str, how: str, notes: list[str]) -> Arranged:
    kind = "pixels" if "T" in layout else "still"
    has_class_axis = "K" in layout
    ordered = tensor.permute([layout.index(letter) for letter in ("K" if has_class_axis else "") + STORED[kind]])
    notes.append(f"layout: {layout} ({how}), stored as {STORED[kind]}")
    return Arranged(
        values=ordered.flatten(0, 1) if has_class_axis else ordered, decoder=kind, layout=layout, has_class_axis=has_class_axis
    )


def _sizes(spec: DatasetSpec) -> str:
    return f"T={spec.frames}, H=W={spec.size}, C=3, K={spec.num_classes} classes"


def scaled(pixels: torch.Tensor, size: int, notes: list[str]) -> torch.Tensor:
    """Clips or stills [N, ..., H, W, 3] with frames of this size, bilinear with anti-aliasing: float32, or unchanged."""
    height, width = pixels.shape[-3:-1]
    if (height, width) == (size, size):
        notes.append(f"scaled to {size}x{size}: no clip, all have this size")
        return pixels
    out = torch.empty((*pixels.shape[:-3], size, size, 3))
    for clip, small in zip(pixels, out, strict=True):  # one at a time, to save memory
        planes = clip.reshape(-1, height, width, 3).movedim(-1, 1).float()
        planes = interpolate(planes, (size, size), mode="bilinear", antialias=True)
        small.copy_(planes.movedim(1, -1).reshape(small.shape))
    notes.append(f"scaled to {size}x{size}, bilinear with anti-aliasing: {len(out):,} from {width}x{height}")
    return out


def _next_step(tensor: torch.Tensor, spec: DatasetSpec, allowed: Sequence[str]) -> str:
    """What to do with a tensor that fits no layout."""
    if tuple(tensor.shape) == (3, 4, 3, 3, 3):
        return "it is the network of a static-dynamic set: pack the motions, with --statics FILE --hallucinator FILE"
    if 1 in tensor.shape[1:] and spec.frames in tensor.shape and spec.size in tensor.shape:
        return (
            "if these are the motions of a static-dynamic set: add --statics FILE --hallucinator FILE; if they are grey clips: "
            "repeat the channel three times in your code"
        )
    if near := _near(tensor, spec, allowed):
        return near
    if any(not _misfit(layout, tensor, spec, resize=True) for layout in allowed):
        return (
            f"clips here have {_sizes(spec)}. Frames of another size are scaled only if asked for, because the way of scaling "
            "is a part of the method: --resize does it, bilinear with anti-aliasing; or do it in your code and save them again"
        )
    if sides := _oblong(tensor, spec, allowed):
        return (
            f"clips here have {_sizes(spec)}. Frames are {sides[1]}x{sides[0]}; only square ones are scaled (--resize): crop "
            "them in your code and save them again"
        )
    return (
        f"clips here have {_sizes(spec)}. Clips of another length are not changed: choose or interpolate frames in your code "
        "and save them again. --resize scales square frames of another size. Latents must be decoded to pixels first"
    )


def _near(tensor: torch.Tensor, spec: DatasetSpec, allowed: Sequence[str]) -> str | None:
    """What to do if only the number of channels is wrong, or if the axis of classes comes second."""
    for layout in (layout for layout in allowed if len(layout) == tensor.ndim):
        if re.fullmatch(r"C is \d+, must be 3", why := _misfit(layout, tensor, spec, resize=False)):
            return f"as {layout}, {why}: drop an alpha channel, or convert the frames to RGB, and save the clips again"
        if len(layout) == 6 and not _misfit(layout, tensor.transpose(0, 1), spec, resize=False):
            return f"{layout} has the axis of the {spec.num_classes} classes first: save clips.transpose(0, 1)"
    return None


def _oblong(tensor: torch.Tensor, spec: DatasetSpec, allowed: Sequence[str]) -> tuple[int, int] | None:
    """The height and width of frames that are not square, if nothing else is wrong with the shape in one layout."""
    for layout in (layout for layout in allowed if len(layout) == tensor.ndim):
        wanted = {"T": spec.frames, "C": 3, "K": spec.num_classes}
        if all(size == wanted.get(letter, size) for letter, size in zip(layout, tensor.shape, strict=True)):
            return tensor.shape[layout.index("H")], tensor.shape[layout.index("W")]
    return None


def _misfit(layout: str, tensor: torch.Tensor, spec: DatasetSpec, resize: bool) -> str:
    """Why a layout does not fit a tensor. Returns "" if it fits. resize: frames of any size fit, if H = W."""
    if len(layout) != tensor.ndim:
        return f"{len(layout)} letters for {tensor.ndim} dimensions"
    side = tensor.shape[layout.index("H")] if resize else spec.size
    wanted = {"T": spec.frames, "H": side, "W": side, "C": 3, "K": spec.num_classes}
    sizes = zip(layout, tensor.shape, strict=True)
    return ", ".join(f"{x} is {size}, must be {wanted[x]}" for x, size in sizes if size != wanted.get(x, size))
