"""Test videos of a dataset that nearly equal a train video, such as clips cut from one recording.

A set that holds such a train video is honest although it resembles a test video, and the leak scanner (submissions/leaks.py)
does not accuse copies of either. A method that learns these videos by heart gains as many test answers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vddbench.data.nearest import NEAR, nearest, sample_times
from vddbench.data.store import Store
from vddbench.data.thumbnails import luma
from vddbench.system.progress import bar

SHOWN = 3
VIDEOS_AT_ONCE = 64


class NearCopy(NamedTuple):
    """A test video and the train video that it resembles most."""

    test_video: str
    train_video: str
    distance: float  # of their frames, see nearest.py; below NEAR


def near_copies(store: Store) -> list[NearCopy]:
    """The test videos whose centre clips are nearer than NEAR to a train video, the nearest first."""
    test, train = store.test, store.train
    times, rows = sample_times(test.spec.frames), np.arange(len(test))
    grey = []
    with bar("reading test videos", len(test)) as progress:
        for part in np.array_split(rows, -(-len(rows) // VIDEOS_AT_ONCE)):
            grey.append(luma(test.clips(part, test.centre_starts(part)).numpy()[:, times]))
            progress.advance(len(part))
    found = nearest(np.concatenate(grey), train)
    names, train_names = test.index["video"].to_numpy(str), train.index["video"].to_numpy(str)
    order = [i for i in np.argsort(found.distance, kind="stable") if found.distance[i] < NEAR]
    return [NearCopy(str(names[i]), str(train_names[found.video[i]]), float(found.distance[i])) for i in order]


def summary(store: Store) -> str:
    """One line on the near-copies between test and train."""
    copies, total = near_copies(store), len(store.test)
    if not copies:
        return f"no test video is nearly a train video (distance below {NEAR})"
    first = ", ".join(f"{copy.test_video} ~ {copy.train_video} ({copy.distance:.3f})" for copy in copies[:SHOWN])
    more = ", ..." if len(copies) > SHOWN else ""
    return f"{len(copies):,} of {total:,} test videos are nearly a train video (distance below {NEAR}): {first}{more}"
