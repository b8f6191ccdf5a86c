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
from vddbench.submissions.tensors import OFFSET_DTYPES, Want, cut, expect, joined, label_want, labels
from vddbench.system.progress import bar


def decode(tensors: Mapping[str, torch.Tensor], spec: DatasetSpec) -> ClipSet:
    """Clips as uint8. Raises ValueError with a line for each wrong tensor, or with the first wrong clip and frame."""
    wanted = {
        "jpeg": Want((("B",),), (torch.uint8,)),
        "offsets": Want((("N*T+1",),), OFFSET_DTYPES),
        "labels": label_want(spec),
    }
    sizes = expect(tensors, wanted)
    targets = labels(tensors, spec)
    images = cut(tensors, "jpeg", sizes["N"] * spec.frames, "frame")
    clips = np.empty((sizes["N"], *spec.clip_shape), np.uint8)
    with bar("decoding JPEG clips", sizes["N"]) as progress:
        for n in range(sizes["N"]):
            for t in range(spec.frames):
                clips[n, t] = _frame(bytes(images[n * spec.frames + t]), spec.size, f"clip {n} frame {t}")
            progress.advance()
    return ClipSet(clips=torch.from_numpy(clips), labels=targets)


def bytes_per_clip(tensors: Mapping[str, torch.Tensor], spec: DatasetSpec) -> int:
    """The bytes of a uint8 clip."""
    return spec.clip_bytes


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
    """The tensors `jpeg` and `offsets` for uint8 clips [N, T, H, W, 3]; quality is Pillow's scale of 1 to 95."""
    frames = clips.reshape(-1, *clips.shape[2:]).numpy()
    parts = []
    for frame in frames:
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, "JPEG", quality=quality, subsampling=subsampling, optimize=True)
        parts.append(buffer.getvalue())
    return joined("jpeg", parts)
