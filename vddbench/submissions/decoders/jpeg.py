"""Decoder `jpeg`: every frame is a JPEG image; the images follow each other in one tensor of bytes.

| tensor | shape | dtype | |
|---|---|---|---|
| jpeg | [B] | uint8 | the bytes of N*T images |
| offsets | [N*T + 1] | int32, int64 | strictly increasing from 0 to B |
| labels | [N] or [N, K] | int, or float16, float32 | class indices, or probabilities |

Frame t of clip n is jpeg[offsets[n*T + t] : offsets[n*T + t + 1]]: a baseline or progressive JPEG of exactly W x H pixels,
RGB or grey, decoded by Pillow (libjpeg-turbo) to uint8 RGB.
"""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Mapping

import numpy as np
import torch
from PIL import Image

from vddbench.spec import ClipSet, DatasetSpec
from vddbench.submissions.tensors import Want, expect, label_want, labels
from vddbench.system.progress import bar

OFFSET_DTYPES = (torch.int32, torch.int64)


def decode(tensors: Mapping[str, torch.Tensor], spec: DatasetSpec) -> ClipSet:
    """Clips as uint8. Raises ValueError with a line for each wrong tensor, or with the first wrong clip and frame."""
    wanted = {
        "jpeg": Want((("B",),), (torch.uint8,)),
        "offsets": Want((("N*T+1",),), OFFSET_DTYPES),
        "labels": label_want(spec),
    }
    sizes = expect(tensors, wanted)
    targets = labels(tensors, spec)
    offsets = tensors["offsets"].to(torch.int64)
    _check_offsets(offsets, sizes["N"] * spec.frames, sizes["B"])
    data, bounds = tensors["jpeg"].numpy().data, offsets.tolist()
    clips = np.empty((sizes["N"], *spec.clip_shape), np.uint8)
    with bar("decoding JPEG clips", sizes["N"]) as progress:
        for n in range(sizes["N"]):
            for t in range(spec.frames):
                i = n * spec.frames + t
                clips[n, t] = _frame(bytes(data[bounds[i] : bounds[i + 1]]), spec.size, f"clip {n} frame {t}")
            progress.advance()
    return ClipSet(clips=torch.from_numpy(clips), labels=targets)


def bytes_per_clip(tensors: Mapping[str, torch.Tensor], spec: DatasetSpec) -> int:
    """Of uint8."""
    return spec.clip_bytes


def _check_offsets(offsets: torch.Tensor, num_frames: int, num_bytes: int) -> None:
    if len(offsets) != num_frames + 1:
        raise ValueError(f"tensor 'offsets' has {len(offsets)} entries; allowed: one per frame and one more, {num_frames + 1}")
    first, last = int(offsets[0]), int(offsets[-1])
    if first != 0 or last != num_bytes:
        raise ValueError(f"tensor 'offsets' goes from {first} to {last}; allowed: from 0 to {num_bytes}, the bytes of 'jpeg'")
    bad = offsets.diff() <= 0
    if bad.any():
        i = int(bad.nonzero()[0])
        raise ValueError(
            f"tensor 'offsets' goes from {int(offsets[i])} to {int(offsets[i + 1])} at entry {i}; allowed: strictly increasing"
        )


def _frame(data: bytes, size: int, where: str) -> np.ndarray:
    """One frame as [H, W, 3] uint8. Raises ValueError; the size in the header is compared before a pixel is decoded."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # Pillow only warns about decompression bombs and malformed files
            with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
                if image.size != (size, size):
                    raise ValueError(f"is {image.width} x {image.height} pixels; allowed: {size} x {size}")
                if image.format != "JPEG" or image.mode not in {"RGB", "L"}:
                    raise ValueError(f"is {image.format} {image.mode}; allowed: one JPEG image, RGB or L (grey)")
                return np.asarray(image.convert("RGB"))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(f"{where} of tensor 'jpeg' claims too many pixels; allowed: {size} x {size}") from error
    except ValueError as error:
        raise ValueError(f"{where} of tensor 'jpeg' {error}") from error
    except (OSError, SyntaxError, EOFError, IndexError, KeyError, TypeError, struct.error, Warning) as error:
        reason = str(error).split("<")[0].strip() or type(error).__name__  # drops the memory address of a BytesIO
        raise ValueError(
            f"{where} of tensor 'jpeg' ({len(data):,} bytes) is not a whole JPEG image: {reason}; encode it again"
        ) from error


def encode(clips: torch.Tensor, quality: int, subsampling: str = "4:2:0") -> dict[str, torch.Tensor]:
    """The tensors `jpeg` and `offsets` for uint8 clips [N, T, H, W, 3]; quality is Pillow's scale of 1 to 95.

    Offsets are int32 if they fit, since they count towards the budget.
    """
    frames = clips.reshape(-1, *clips.shape[2:]).numpy()
    parts = []
    for frame in frames:
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, "JPEG", quality=quality, subsampling=subsampling, optimize=True)
        parts.append(buffer.getvalue())
    offsets = np.cumsum([0, *map(len, parts)], dtype=np.int64)
    dtype = np.int32 if offsets[-1] <= np.iinfo(np.int32).max else np.int64
    data = np.frombuffer(bytearray(b"".join(parts)), np.uint8)
    return {"jpeg": torch.from_numpy(data), "offsets": torch.from_numpy(offsets.astype(dtype))}
