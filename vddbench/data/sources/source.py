"""Where the videos of a dataset are while `prepare` decodes them: on this disk, or brought to it one by one (from_hub/)."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, Protocol

from vddbench.data import listing as listed
from vddbench.spec import Video


class Source(Protocol):
    """Gives videos as files, each when its turn comes."""

    @property
    def keep(self) -> bool:
        """Do the files stay when they are decoded?"""

    def sizes(self, videos: Mapping[str, Video]) -> dict[str, int]:
        """Video id -> bytes of its file, of those that are there; 0 where that is not known before."""

    def files(self, videos: list[Video], folder: Path) -> Generator[tuple[Video, Path]]:
        """Each of `videos` once with its file, those of train first, else in any order that is always the same; what has to be
        written goes to the new folder `folder`. Raises OSError, ValueError when one can't be had."""

    def note(self) -> str:
        """For the progress bar."""


class OnDisk:
    """A video's path is its file, or its folder of frames."""

    keep = True

    def sizes(self, videos: Mapping[str, Video]) -> dict[str, int]:
        return listed.sizes(videos)

    def files(self, videos: list[Video], folder: Path) -> Generator[tuple[Video, Path]]:
        for video in videos:
            assert video.path is not None, "a dataset without files needs render()"
            yield video, video.path

    def note(self) -> str:
        return ""


ON_DISK = OnDisk()


def check_builtin_options(chosen: dict[str, Any]) -> None:
    if chosen:
        given = ", ".join("--" + option.replace("_", "-") for option in chosen)
        raise ValueError(
            f"{given}: only with --folder, or --hub under your own name; a built-in dataset's geometry and recipe are fixed"
        )


def check_folder(option: str, folder: Path | None) -> None:
    if folder is not None and not folder.is_dir():
        raise FileNotFoundError(f"{option} {folder} is not a folder")
