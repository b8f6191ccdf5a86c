"""Says whether two prepared stores hold the same videos when their bytes differ: decoders and scalers change with versions.

A store's digest is exact, and FFmpeg 8.1 scales 4:2:0 video to other bytes than 8.0 does (what they decode agrees, and so do
7.1 and 8.0). So a store also has a fingerprint: a sha256 over its spec and index without pixels, and a sketch of coarse
thumbnails. The luma of each video is averaged over 4 spans of time and 4 x 4 cells; the sketch is 64 sums over all values of
all videos with random signs that follow from the videos' names, divided by the root of their number. The root mean square
difference of two sketches then estimates that of all the thumbnails (Alon, Matias and Szegedy, 1996), within 9 % (one standard
deviation).

Measured at 112x112 on 18 videos, 17 of them generated and one of UCF101's, in grey levels: FFmpeg 8.0 against 8.1 0 to 0.24
(the real one 0.01; of colours, up to 1.5: it moves their edges), saved as JPEG of quality 75 0.12 to 0.26, one frame later 0.39
to 1.04, one pixel aside 0.3 to 5.1, full range for limited 3.9 to 5.8, red for blue 2.6 to 28 where there is colour.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:  # workers, which make thumbnails, need no pydantic
    from vddbench.spec import Fingerprint

SPANS, CELLS, SUMS = 4, 4, 64
VALUES = SPANS * CELLS * CELLS  # of one video's thumbnail
STEP = 2.0**-16  # thumbnails are multiples of it, so that sums over videos are exact, in any order
AT_ONCE = 16  # frames in memory: a video may have 3 GB of them
NEAR = 0.3  # grey levels: between what versions of FFmpeg differ by and what one frame does
LUMA = np.array((0.299, 0.587, 0.114))  # BT.601, of RGB


class OfStore(Protocol):
    """A record, a manifest: what says of which prepared store it is."""

    @property
    def store_digest(self) -> str | None: ...

    @property
    def store_fingerprint(self) -> Fingerprint | None: ...


class StoreId(NamedTuple):
    """How records and manifests call a prepared store."""

    store_digest: str | None
    store_fingerprint: Fingerprint | None


NO_STORE = StoreId(None, None)


class Sketch:
    """Sums over the videos of a store, in any order."""

    def __init__(self) -> None:
        self.sums = np.zeros(SUMS)
        self.num_videos = 0

    def add(self, video: str, small: np.ndarray) -> None:
        """video: its id. small: its thumbnail."""
        self.sums += signs(video) @ small.ravel()
        self.num_videos += 1

    def fingerprint(self, rows: str) -> Fingerprint:
        """rows: sha256 of what the store says of its videos."""
        values = self.sums / np.sqrt(max(self.num_videos, 1) * VALUES)
        return f"{rows}:{base64.b64encode(values.astype('<f4').tobytes()).decode()}"


class FramesFile:
    """Frames [n, H, W, 3] uint8 in a file from frame `first`, read as slices of them are asked for."""

    def __init__(self, file: BinaryIO, shape: tuple[int, int, int, int], first: int = 0) -> None:
        self.file, self.shape, self.first = file, shape, first
        self.frame_bytes = shape[1] * shape[2] * shape[3]

    def __getitem__(self, part: slice) -> np.ndarray:
        begin, end, _ = part.indices(self.shape[0])
        self.file.seek((self.first + begin) * self.frame_bytes)
        content = self.file.read((end - begin) * self.frame_bytes)
        return np.frombuffer(content, np.uint8).reshape(-1, *self.shape[1:])


def thumbnail(frames: np.ndarray | FramesFile) -> np.ndarray:
    """[SPANS, CELLS, CELLS] mean luma of uint8 frames [n, H, W, 3], H = W at least CELLS. Of fewer than SPANS frames some count
    for several spans."""
    num_frames, size = frames.shape[0], frames.shape[1]
    ends = [max(num_frames * (i + 1) // SPANS, num_frames * i // SPANS + 1) for i in range(SPANS)]
    sums, counts = np.zeros((SPANS, size, size, 3), np.int64), np.empty(SPANS)
    for span, end in enumerate(ends):
        begin = num_frames * span // SPANS
        counts[span] = end - begin
        for at in range(begin, end, AT_ONCE):
            sums[span] += frames[at : min(at + AT_ONCE, end)].sum(0, dtype=np.uint32)
    edges = [size * i // CELLS for i in range(CELLS)]
    pixels = np.diff([*edges, size])
    sums = np.add.reduceat(np.add.reduceat(sums, edges, 1), edges, 2)
    means = sums @ LUMA / (counts[:, None, None] * pixels[:, None] * pixels)
    rounded: np.ndarray = np.rint(means / STEP) * STEP
    return rounded


def signs(video: str) -> np.ndarray:
    """[SUMS, VALUES] of -1 and 1, the same everywhere."""
    bits = hashlib.shake_256(video.encode("utf-8", "surrogateescape")).digest(SUMS * VALUES // 8)
    return 2.0 * np.unpackbits(np.frombuffer(bits, np.uint8)).reshape(SUMS, VALUES) - 1.0


def distance(one: Fingerprint, other: Fingerprint) -> float:
    """Between the thumbnails of two stores, root mean square in grey levels; infinite when they aren't of the same videos, spec
    and numbers of frames, or one is no fingerprint."""
    rows, values = _parts(one)
    other_rows, other_values = _parts(other)
    if rows != other_rows:
        return float("inf")
    found = float(np.sqrt(np.mean((values - other_values) ** 2)))
    return found if np.isfinite(found) else float("inf")


def _parts(text: Fingerprint) -> tuple[str, np.ndarray]:
    rows, _, sums = text.partition(":")
    try:
        values = np.frombuffer(base64.b64decode(sums, validate=True), "<f4").astype(np.float64)
    except (binascii.Error, ValueError):
        values = np.zeros(0)
    return rows, values if len(values) == SUMS else np.full(SUMS, np.nan)


def same_data(one: OfStore, other: OfStore) -> bool:
    """Are these of the same prepared store, or of two that only versions of the decoder tell apart?"""
    if one.store_digest == other.store_digest:
        return True
    return near(one.store_fingerprint, other.store_fingerprint)


def near(one: Fingerprint | None, other: Fingerprint | None) -> bool:
    return one is not None and other is not None and distance(one, other) <= NEAR
