"""Projects how long `prepare` of the real datasets will take, and their size on disk, from times of generated videos.

The time is a worker's CPU seconds per source frame, times the number of source frames, times the ratio of pixels if the real
videos are larger. Stored frames are computed for a video of the mean length (`decode.plan`). A single process appends to the
store, which limits the gain from more cores. Reading the source from a slow disk or a network is not included.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vddbench.data.datasets import hmdb51, kinetics400, miniucf, ssv2, ucf101
from vddbench.data.stored_frames import plan, planned_frames
from vddbench.leaderboard.studies.bench.clips import KINDS
from vddbench.spec import DatasetSpec

CORES = (1, 2, 8, 32)
TITLE = "Projected from the CPU seconds above: prepare of the real datasets, on so many cores like these"
HEADERS = ("dataset", "videos", "mean frames", "at", "as", *(f"{n} core{'s' * (n > 1)}" for n in CORES), "stored frames", "GB")


@dataclass(frozen=True, kw_only=True)
class Costs:
    """CPU seconds of a worker per source frame, by codec and geometry; of the appending process per video, by frame size."""

    decoding: Mapping[tuple[str, str], float]
    appending: Mapping[int, float]


@dataclass(frozen=True, kw_only=True)
class Real:
    """A dataset's videos as its distributor ships them. case: the measured codec and geometry that stand for them."""

    name: str
    spec: DatasetSpec
    num_videos: int
    num_frames: int  # mean
    size: tuple[int, int]  # (w, h)
    case: tuple[str, str]


REAL = (
    Real(name="ucf101", spec=ucf101.SPEC, num_videos=13_320, num_frames=186, size=(320, 240), case=(".avi", "ucf101")),
    Real(name="miniucf", spec=miniucf.SPEC, num_videos=6_523, num_frames=186, size=(320, 240), case=(".avi", "ucf101")),
    Real(name="hmdb51", spec=hmdb51.SPEC, num_videos=5_100, num_frames=95, size=(320, 240), case=(".avi", "ucf101")),
    Real(name="hmdb51_sdd", spec=hmdb51.SPEC, num_videos=6_766, num_frames=95, size=(320, 240), case=(".avi", "ucf101")),
    Real(
        name="kinetics400", spec=kinetics400.SPEC, num_videos=240_000, num_frames=300, size=(340, 256),
        case=(".mp4", "kinetics400"),
    ),  # those still available, 10 s of 30 frames/s
    Real(name="ssv2", spec=ssv2.SPEC, num_videos=193_690, num_frames=48, size=(427, 240), case=(".webm", "ssv2")),  # 4 s of 12
)  # fmt: skip


def rows(costs: Costs) -> list[list[str]]:
    """Rows of HEADERS."""
    return [row(real, costs) for real in REAL]


def row(real: Real, costs: Costs) -> list[str]:
    """One dataset's row of HEADERS."""
    decoding = real.num_videos * real.num_frames * costs.decoding[real.case] * larger(real)
    appending = real.num_videos * costs.appending[real.spec.size]
    stored = real.num_videos * stored_frames(real.spec, real.num_frames)
    num_bytes = stored * real.spec.size * real.spec.size * 3
    times = [duration(max((decoding + appending) / cores, appending)) for cores in CORES]
    width, height = real.size
    named = f"{real.case[0]}, pixels x{larger(real):.2f}" if larger(real) != 1 else real.case[0]
    return [real.name, f"{real.num_videos:,}", str(real.num_frames), f"{width}x{height}", named, *times, f"{stored:,}",
            f"{num_bytes / 1e9:,.1f}"]  # fmt: skip


def larger(real: Real) -> float:
    """The pixels of a frame, as a multiple of those measured."""
    width, height = next(kind.size for kind in KINDS if kind.suffix == real.case[0])
    return real.size[0] * real.size[1] / (width * height)


def stored_frames(spec: DatasetSpec, num_frames: int) -> int:
    """Frames that one video of `num_frames` stores. A short video repeats frames up to T."""
    return max(spec.frames, len(planned_frames(plan(num_frames, spec.frames, spec.stride), num_frames)))


def duration(seconds: float) -> str:
    """The duration as text, in hours, minutes or seconds."""
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.0f} min" if seconds >= 60 else f"{seconds:.0f} s"
