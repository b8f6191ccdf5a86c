"""hmdb51_sdd: HMDB51 as "Dancing with Still Images" (CVPR 2024, arXiv 2312.00362) splits it: 5,236 train and 1,530 test clips.

The test clips are the test clips of the official split 1. All other clips are in train, including the 1,666 clips that the
official split leaves out so that no film of a class is in both parts. In this split, 177 films are in both parts, with 647 of
the 1,530 test clips (counted in the official files, by the films in the clips' names). Source, layout, names: see hmdb51.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vddbench.data.datasets.hmdb51 import LIST_FILES, SUFFIX, clips_in, listing_of, spec_of, unlisted_of
from vddbench.data.matching import located
from vddbench.spec import Video

__all__ = ["LIST_FILES", "SPEC", "SUFFIX", "listing", "unlisted", "videos"]

SPEC = spec_of({"train": 5236, "test": 1530}, full=10_500, rule="test of the official split 1, all else is train")


def listing(raw: Path | None) -> Iterator[Video]:
    """The clips that the official split's files name; clips in neither part are in train."""
    return listing_of(SPEC, raw, unused="train")


def videos(raw: Path) -> Iterator[Video]:
    """The listed clips with their files in the folders of the classes."""
    return located(listing(raw), clips_in(SPEC, raw))


def unlisted(raw: Path) -> Iterator[str]:
    return unlisted_of(SPEC, raw)
