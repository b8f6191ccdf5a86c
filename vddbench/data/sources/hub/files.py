"""Video files of a dataset repo: downloaded in their order, a few ahead of the decoders, and deleted once decoded."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath

from vddbench import hub
from vddbench.data.sources.hub.ahead import Traffic, ahead
from vddbench.spec import Video
from vddbench.system.home import check_space

AHEAD, AHEAD_BYTES = 8, 10**9  # limits for downloads that run or wait for a decoder


class HubFiles:
    """A Source of video files. files: video id -> (path in the repo at commit `sha`, its entry in the listing)."""

    keep = False

    def __init__(self, repo: hub.Repo, sha: str, files: Mapping[str, tuple[str, hub.Remote]]) -> None:
        self.repo, self.sha, self.file_of = repo, sha, files
        self.traffic = Traffic()

    def sizes(self, videos: Mapping[str, Video]) -> dict[str, int]:
        return {video: self.file_of[video][1].size for video in videos if video in self.file_of}

    def files(self, videos: list[Video], folder: Path) -> Generator[tuple[Video, Path]]:
        """Yields the videos in the given order."""
        folder.mkdir()
        self.traffic.stopped = False
        calls = ((self.call(video, folder, i), self.file_of[video.id][1].size) for i, video in enumerate(videos))
        yield from ahead(calls, AHEAD, AHEAD_BYTES, self.traffic)

    def call(self, video: Video, folder: Path, number: int) -> Callable[[], tuple[Video, Path]]:
        return partial(self.fetch, video, folder / f"{number}{PurePosixPath(self.file_of[video.id][0]).suffix}")

    def fetch(self, video: Video, to: Path) -> tuple[Video, Path]:
        """Downloads a video. Raises OSError if that fails or the bytes are not those of the listing."""
        path, remote = self.file_of[video.id]
        check_space(to.parent, remote.size)
        with to.open("wb") as file:
            hub.copy(self.repo, path, self.sha, 0, remote.size, file, self.traffic.came)
        if not remote.holds(to):
            raise OSError(f"{self.repo}: {path[:200]} has other bytes than the listing at {self.sha[:8]} names; try again")
        return video, to

    def note(self) -> str:
        return f", {self.traffic.bytes / 1e6:,.1f} MB fetched"
