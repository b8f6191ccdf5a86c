"""One file per dataset: `SPEC` and `videos(raw)`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from vddbench.spec import DatasetSpec, Video


class DatasetModule(Protocol):
    """A file in vddbench/data/datasets/. `videos` gives every video of the dataset, those that aren't in `raw` without a path.

    A procedural dataset has `render(video) -> [n, H, W, C] uint8` and no files. The others have `listing(raw)`, every video
    without a path (raw: where the distributor's lists are; None: not given), `LIST_FILES`, a pattern of the lists' paths in
    `raw`, and `SUFFIX` of the videos' files. Those that look for videos in folders of classes only have `unlisted(raw)`, names
    of files that a whole copy does not have.
    """

    SPEC: DatasetSpec

    def videos(self, raw: Path) -> Iterator[Video]: ...
