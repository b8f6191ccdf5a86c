"""The contract between `prepare` and a place with videos, which states their sizes and yields their files one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from vddbench.data import listing
from vddbench.spec import DatasetSpec, Video
from vddbench.system.progress import say


class Source(Protocol):
    """A place with videos, which yields them as files one by one."""

    @property
    def keep(self) -> bool:
        """Whether the files stay after they are decoded."""

    def sizes(self, videos: Mapping[str, Video]) -> dict[str, int]:
        """Video id -> bytes of its file, for the videos that exist; 0 if the size is unknown before reading."""

    def files(self, videos: list[Video], folder: Path) -> Generator[tuple[Video, Path]]:
        """Yields every video of `videos` once, with its file: train first, and always in the same order.

        Writes temporary files to the new folder `folder`. Raises OSError or ValueError if a file cannot be read.
        """

    def note(self) -> str:
        """Text for the end of the progress bar."""


class OnDisk:
    """Videos on this machine: a video's path is its file, or its folder of frames."""

    keep = True

    def sizes(self, videos: Mapping[str, Video]) -> dict[str, int]:
        return listing.sizes(videos)

    def files(self, videos: list[Video], folder: Path) -> Generator[tuple[Video, Path]]:
        for video in videos:
            assert video.path is not None, "a dataset without files needs render()"
            yield video, video.path

    def note(self) -> str:
        return ""


ON_DISK = OnDisk()
FROM = "; from "  # begins the part of a spec's source that says what was read instead of the distributor's files


def of_formats(spec: DatasetSpec, videos: Iterable[Video], suffix: str) -> DatasetSpec:
    """The spec, whose source names the formats of files that are not the distributor's `suffix`: they were encoded again.

    Copies of a dataset that may lack videos differ anyway, and their spec stays.
    """
    formats = Counter(video.path.suffix.lower() for video in videos if video.path is not None)
    others = sorted(formats.keys() - {suffix})
    if spec.num_missing is not None or not others:
        return spec
    counts = ", ".join(f"{formats[other]:,} {other}" for other in others)
    say(
        f"warning: {counts} of {formats.total():,} videos are not the distributor's {suffix} files but were encoded again: the "
        "store gets another digest, and its records share no table with those of the distributor's files",
        style="yellow",
    )
    return spec.model_copy(update={"source": f"{spec.source}{FROM}{', '.join(others)} files"})


def check_builtin_options(chosen: dict[str, Any]) -> None:
    """Raises ValueError if options of a user's own dataset were given for a built-in one."""
    if chosen:
        given = ", ".join("--" + option.replace("_", "-") for option in chosen)
        raise ValueError(
            f"{given}: only with --folder, or --hub under your own name; a built-in dataset's geometry and recipe are fixed"
        )


def check_folder(option: str, folder: Path | None) -> None:
    if folder is not None and not folder.is_dir():
        raise FileNotFoundError(f"{option} {folder} is not a folder")
