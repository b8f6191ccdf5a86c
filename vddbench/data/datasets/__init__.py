"""One file per built-in dataset, with a `SPEC` and a function `videos(raw)`. A new file here is a new dataset.

The stored bytes and digests of every prepared store depend on a file's SPEC, ids, labels, splits and groups: change none of
them; a changed dataset gets a new name.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from vddbench.spec import DatasetSpec, Video


class DatasetModule(Protocol):
    """The contract of a file in vddbench/data/datasets/.

    `DIGEST`, which is optional, is the digest of the dataset's store: a store of this name must have it (pinned.py).

    `videos(raw)` yields every video of the dataset; a video that is missing in `raw` has no path. A procedural dataset also
    has `render(video) -> [n, H, W, C] uint8` and no files. All others have

    * `listing(raw)`: every video without a path; raw is the folder with the distributor's lists, None if not given;
    * `LIST_FILES`: a pattern for the paths of these lists in `raw`;
    * `SUFFIX`: the suffix of the distributor's video files; the source of a store of files in other formats names these;
    * `short_name(name)`, if copies have clips under another, shorter name than the last part of their id;
    * `unlisted(raw)`, if videos are searched in folders of classes only: names of files that do not belong to the dataset.
    """

    SPEC: DatasetSpec

    def videos(self, raw: Path) -> Iterator[Video]: ...
