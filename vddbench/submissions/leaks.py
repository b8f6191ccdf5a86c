"""Looks for test videos among the clips of a submission: raw or recompressed, mirrored, cropped, shifted, darkened, noisy.

A clip is suspect if its nearest test video is much nearer than its nearest train video. A clip that comes from a train video
is near that video, whatever resembles it in the test split, so near-copies between the splits of a dataset accuse nobody. The
limit is calibrated in docs/leaks.md. The scan finds crude leaks; it does not find clips that were optimised on test videos.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch

from vddbench.data.nearest import NEAR, Nearest, nearest, sample_times
from vddbench.data.store import Split, Store
from vddbench.data.thumbnails import luma
from vddbench.spec import ClipSet, Frozen, Manifest
from vddbench.system.cache import cached
from vddbench.system.files import canonical_json
from vddbench.system.home import home
from vddbench.system.progress import say

VERSION = 6  # of the rules; part of the name of a cached result
RATIO = 0.3  # a suspect clip's distance to test is below this share of its distance to train ...
WHOLE_RATIO = 0.15  # ... or below this one by whole frames alone: other videos may have the same shape at another place
MOST_CLIPS = 512  # a larger set is sampled
SHOWN = 5  # clips named in a warning


class Leak(Frozen):
    """A clip that resembles a test video much more than any train video."""

    clip: int
    test_video: str
    test_distance: float
    train_video: str
    train_distance: float

    def __str__(self) -> str:
        return (
            f"clip {self.clip} matches test video {self.test_video} (distance {self.test_distance:.3f}; the nearest train "
            f"video, {self.train_video}, is at {self.train_distance:.3f})"
        )


class Scan(Frozen):
    """The result of a scan."""

    leaks: tuple[Leak, ...]
    num_compared: int  # clips
    lowest_ratio: float  # of all compared clips; that by whole frames is scaled to the limit RATIO

    @property
    def warnings(self) -> list[str]:
        """At most one line."""
        if not self.leaks:
            return []
        first = "; ".join(map(str, self.leaks[:SHOWN])) + ("; ..." if len(self.leaks) > SHOWN else "")
        return [f"{len(self.leaks):,} of {self.num_compared:,} compared clips look like test videos: {first}"]


def scan_once(clipset: ClipSet, manifest: Manifest, store: Store) -> Scan | None:
    """`scan` of a submission's clips. The result is kept in $VDDBENCH_HOME, for the next student or process.

    The submission must have passed the checks: the result is kept under the hash that its manifest states. Returns None, and
    says why, if the thumbnails or the result cannot be written.
    """
    seed = int(manifest.sha256[:16], 16)  # nobody can place clips where a larger set is not sampled
    key = [VERSION, store.digest, manifest.method, manifest.sha256, manifest.decoder, str(manifest.task)]
    path = home() / "leaks" / f"{hashlib.sha256(canonical_json(key)).hexdigest()[:24]}.json"
    try:
        return Scan.model_validate_json(
            cached(path, lambda: scan(clipset.clips, store, seed).model_dump_json().encode()).read_bytes()
        )
    except OSError as error:
        say(f"warning: the clips are not compared with test videos: {error}", style="yellow")
        return None


def scan(clips: torch.Tensor, store: Store, seed: int = 0) -> Scan:
    """Compares clips [N, T, H, W, C] on the 0-255 scale with all videos of a prepared store; at most MOST_CLIPS of them.

    seed: chooses the clips of a larger set that are compared.
    """
    rows = np.sort(np.random.default_rng(seed).permutation(len(clips))[:MOST_CLIPS])
    frames = clips[torch.from_numpy(rows)[:, None], torch.from_numpy(sample_times(clips.shape[1]))]
    grey = luma(frames.numpy())
    test, train = nearest(grey, store.test), nearest(grey, store.train)
    ratio = _ratio(test.distance, train.distance)
    of_whole = _ratio(test.whole_distance, train.whole_distance) * RATIO / WHOLE_RATIO
    by_whole, ratio = of_whole < ratio, np.minimum(of_whole, ratio)
    test_names, test_distance = _shown(store.test, test, by_whole)
    train_names, train_distance = _shown(store.train, train, by_whole)
    leaks = tuple(
        Leak(
            clip=int(rows[i]),
            test_video=str(test_names[i]),
            test_distance=float(test_distance[i]),
            train_video=str(train_names[i]),
            train_distance=float(train_distance[i]),
        )
        for i in np.flatnonzero(ratio < RATIO)
    )
    return Scan(leaks=leaks, num_compared=len(rows), lowest_ratio=float(ratio.min()))


def _ratio(test: np.ndarray, train: np.ndarray) -> np.ndarray:
    """The ratio of distances; 1 for clips that are nearly a train video."""
    return np.where(train < NEAR, 1.0, test / np.maximum(train, NEAR))


def _shown(split: Split, found: Nearest, by_whole: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The name and distance of the video that each clip was judged by, each [N]."""
    video = np.where(by_whole, found.whole_video, found.video)
    return split.index["video"].to_numpy(str)[video], np.where(by_whole, found.whole_distance, found.distance)
