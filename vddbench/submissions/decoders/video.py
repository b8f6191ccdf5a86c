"""Decoder `video`: every clip is an elementary stream of a video codec, AV1 or H.264.

| tensor | shape | dtype | |
|---|---|---|---|
| stream | [B] | uint8 | the bytes of N elementary streams |
| offsets | [N + 1] | int32, int64 | strictly increasing from 0 to B |
| labels | [N] or [N, K] | int, or float16, float32 | class indices, or probabilities |

Clip n is stream[offsets[n] : offsets[n + 1]]: either AV1 in the low-overhead format of its specification's section 5 (what
`ffmpeg -f obu` writes), or H.264 in Annex B format (`-f h264`). It has exactly T frames of W x H pixels after cropping, 8 bits,
4:2:0, progressive. In AV1 each temporal unit begins with a temporal delimiter and shows one frame; layers and film grain are
refused. In H.264 a picture is one slice; auxiliary pictures are refused. Metadata, SEI messages and padding are skipped, but
count towards the budget as all bytes do. A damaged stream, of which a decoder would guess a part, is refused.

Both codecs specify the decoded planes Y, U, V to the bit. libdav1d and FFmpeg's h264 decode them, on one thread, in a child
process with limits (vddbench/data/stream_process.py). Tags for colour matrix, range and chroma position are ignored. The
planes always mean BT.601, limited range: what ffmpeg makes of RGB unless it is asked otherwise. With integers, floor division
(>> 16) and the chroma sample of the 2 x 2 block that a pixel lies in (U[y // 2, x // 2], likewise V):

    c = 76309 * (Y - 16) + 32768,  d = U - 128,  e = V - 128
    R = clip((c              + 104597 * e) >> 16, 0, 255)
    G = clip((c -  25675 * d -  53279 * e) >> 16, 0, 255)
    B = clip((c + 132201 * d             ) >> 16, 0, 255)

The factors are those of BT.601, times 2^16, rounded. Errors: tensors are named; a bad stream is named by its clip.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import numpy as np
import torch

from vddbench.data.elementary import BadStream, Codec
from vddbench.spec import ClipSet, DatasetSpec
from vddbench.submissions.tensors import OFFSET_DTYPES, Want, cut, expect, joined, label_want, labels
from vddbench.system.progress import bar

MAX_EXPANSION = 512  # memory of the clips over the budget: AV1 of a UCF101 clip has 75 at crf 30, 340 at crf 60


def decode(tensors: Mapping[str, torch.Tensor], spec: DatasetSpec) -> ClipSet:
    """Clips as uint8. Raises ValueError with a line for each wrong tensor, or with the first wrong clip."""
    from vddbench.data.stream_process import planes_of

    wanted = {
        "stream": Want((("B",),), (torch.uint8,)),
        "offsets": Want((("N+1",),), OFFSET_DTYPES),
        "labels": label_want(spec),
    }
    sizes = expect(tensors, wanted)
    targets = labels(tensors, spec)
    streams = [bytes(part) for part in cut(tensors, "stream", sizes["N"], "clip")]
    clips = np.empty((sizes["N"], *spec.clip_shape), np.uint8)
    n = 0
    with bar("decoding video clips", sizes["N"]) as progress:
        try:
            with closing(planes_of(streams, spec.frames, spec.size)) as decoded:  # the child ends with the block
                for planes in decoded:
                    clips[n] = to_rgb(*planes)
                    n += 1
                    progress.advance()
        except BadStream as error:
            raise ValueError(f"clip {n} of tensor 'stream' ({len(streams[n]):,} bytes) {error}") from error
    return ClipSet(clips=torch.from_numpy(clips), labels=targets)


def bytes_per_clip(tensors: Mapping[str, torch.Tensor], spec: DatasetSpec) -> int:
    """The bytes of a uint8 clip."""
    return spec.clip_bytes


def to_rgb(luma: np.ndarray, blue: np.ndarray, red: np.ndarray) -> np.ndarray:
    """uint8 planes Y [T, H, W], U and V [T, ceil(H/2), ceil(W/2)] -> uint8 RGB [T, H, W, 3], as the file's docstring says."""
    _, height, width = luma.shape
    c = 76309 * (luma.astype(np.int32) - 16) + 32768
    d, e = (plane.repeat(2, 1).repeat(2, 2)[:, :height, :width].astype(np.int32) - 128 for plane in (blue, red))
    channels = (c + 104597 * e, c - 25675 * d - 53279 * e, c + 132201 * d)
    return np.stack([(channel >> 16).clip(0, 255).astype(np.uint8) for channel in channels], -1)


def to_planes(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """uint8 RGB [T, H, W, 3] -> uint8 planes Y, U, V: the inverse, with the mean of each 2 x 2 block as its chroma sample."""
    rgb = frames.astype(np.int32)
    luma = (rgb @ np.array([16829, 33039, 6416], np.int32) + (16 << 16) + 32768) >> 16
    even = np.pad(rgb, ((0, 0), (0, rgb.shape[1] % 2), (0, rgb.shape[2] % 2), (0, 0)), "edge")
    sums = even[:, ::2, ::2] + even[:, ::2, 1::2] + even[:, 1::2, ::2] + even[:, 1::2, 1::2]
    blue, red = (
        (sums @ np.array(factors, np.int32) + (128 << 18) + (1 << 17)) >> 18
        for factors in ([-9714, -19070, 28784], [28784, -24103, -4681])
    )
    return luma.astype(np.uint8), blue.astype(np.uint8), red.astype(np.uint8)


def encode(clips: torch.Tensor, codec: Codec, crf: int, threads: int = 1) -> dict[str, torch.Tensor]:
    """The tensors `stream` and `offsets` for uint8 clips [N, T, H, W, 3]. The same clips give the same bytes on one machine.

    codec, crf: "av1" (SVT-AV1, preset 4, crf 1 to 63) or "h264" (x264, preset slow, crf 1 to 51, even sizes only). Encodes
    `threads` clips at a time, each on one thread.
    """
    from vddbench.data.stream_codec import encode_stream

    def stream(clip: torch.Tensor) -> bytes:
        return encode_stream(zip(*to_planes(clip.numpy()), strict=True), codec, crf, clip.shape[1])

    with ThreadPoolExecutor(threads) as pool:
        return joined("stream", list(pool.map(stream, clips)))
