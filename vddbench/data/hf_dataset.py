"""A split of a store as a Hugging Face `datasets.Dataset`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import datasets

from vddbench.system.home import home

if TYPE_CHECKING:
    from vddbench.data.store import Split

BATCH_BYTES = 64 * 10**6  # of clips that are in memory while the dataset is written


def dataset_of(videos: Split, name: str) -> datasets.Dataset:
    """The centre clips of the split `name`, with the columns clip, label and video.

    It is written to `$VDDBENCH_HOME/datasets` a few clips at a time, once for each digest.
    """
    spec = videos.spec
    features = datasets.Features(
        {
            "clip": datasets.Array4D(shape=spec.clip_shape, dtype="uint8"),
            "label": datasets.ClassLabel(names=list(spec.class_names)),
            "video": datasets.Value("string"),
        }
    )
    dataset: datasets.Dataset = datasets.Dataset.from_generator(
        _rows,
        features,
        cache_dir=str(home() / "datasets"),
        split=datasets.NamedSplit(name),
        gen_kwargs={"videos": videos},
        writer_batch_size=max(1, BATCH_BYTES // spec.clip_bytes),
    )
    return dataset


def _rows(videos: Split) -> Iterator[dict[str, Any]]:
    for row, video in enumerate(videos.index["video"]):
        clip, label = videos[row]
        yield {"clip": clip.numpy(), "label": label, "video": video}
