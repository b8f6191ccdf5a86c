"""Finds the video of a split that each clip resembles most, even if the clip is mirrored, cropped, shifted, darkened or noisy.

Two frames of a clip are compared with every frame of the split. A distance is that of two pictures with mean 0 and norm 1: 0
for equal pictures up to brightness and contrast, 1.41 for unrelated ones. A video's similarity is that of its best frame for
each frame of the clip, averaged. Three steps, of which only the first looks at all frames:

1. Whole frames on a grid of COARSE cells, as they are and mirrored: one matrix product. It keeps CANDIDATES videos per clip.
2. The centre of the clip's frames, at several scales, is searched everywhere in the best frame of each candidate: a crop
   shows a part of a frame at a larger scale, and the centre of a shifted frame is still inside it.
3. The same for the best FINALISTS, with finer scales and positions between the cells of the grid.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from vddbench.data.store import Split
from vddbench.data.thumbnails import GRID, MIN_CONTRAST, averaged, averaging, thumbnails
from vddbench.system.progress import bar

COARSE = 8  # cells a side in step 1; more were no better at finding cropped and shifted clips
FRAMES = 2  # of a clip
CANDIDATES, FINALISTS = 16, 3  # videos per clip
CENTRE = 0.75  # side of a clip's part that is searched for, so that shifts of an eighth of the frame leave it inside
CELLS = (18, 17, 16, 15, 14)  # sides of the searched part in cells: scales 1 to 0.78
FINE_CELLS = (18, 16, 14)
FINE_SIDES = (0.71, 0.73, 0.75, 0.77)  # instead of CENTRE: other scales
FINE_OFFSETS = (-1 / 3, 0.0, 1 / 3)  # in cells
NEAR = 0.1  # distance below which two videos count as nearly the same; a JPEG of quality 20 is at 0.04 to 0.1
ROWS_AT_ONCE = 8192  # thumbnails compared at once: 67 MB of similarities for 512 clips
PAIRS_AT_ONCE = 2048
CLIPS_AT_ONCE = 16


class Nearest(NamedTuple):
    """For each of N clips the nearest video of a split (its row) and its distance, by whole frames or aligned parts of them."""

    video: np.ndarray
    distance: np.ndarray
    whole_video: np.ndarray  # by whole frames alone
    whole_distance: np.ndarray


class Pairs(NamedTuple):
    """Which thumbnail to compare with which frame of a clip."""

    view: np.ndarray  # row of the clip's frames: as they are, then mirrored
    thumbnail: np.ndarray


def sample_times(num_frames: int) -> np.ndarray:
    """The FRAMES frames of a clip of `num_frames` frames that are compared."""
    return np.linspace(0, num_frames - 1, FRAMES + 2).round().astype(np.int64)[1:-1]


def nearest(grey: np.ndarray, split: Split) -> Nearest:
    """The nearest video of `split` for each of N clips.

    grey: luma [N, FRAMES, H, W] float32 of the clips' frames at `sample_times`, with the height and width of the split.
    """
    pictures = thumbnails(split)
    coarse, similarity, videos, is_mirrored = candidates(grey, split)
    aligned, aligned_video = np.empty(len(grey), np.float32), np.empty(len(grey), np.int64)
    with bar(f"comparing with {split.name} videos", len(grey)) as progress:
        for i in range(0, len(grey), CLIPS_AT_ONCE):
            part = slice(i, i + CLIPS_AT_ONCE)
            views = _views(grey[part])
            pairs = _pairs(coarse[:, part], videos[part], is_mirrored[part], pictures, split)
            aligned[part], aligned_video[part] = _aligned(views, pairs, videos[part], pictures)
            progress.advance(views.shape[1])
    is_whole = similarity[:, 0] >= aligned
    best = np.where(is_whole, similarity[:, 0], aligned)
    video = np.where(is_whole, videos[:, 0], aligned_video)
    return Nearest(video, distance(best), videos[:, 0], distance(similarity[:, 0]))


def distance(similarity: np.ndarray) -> np.ndarray:
    """The distance of two unit vectors, from their product."""
    return np.asarray(np.sqrt(np.maximum(2 - 2 * similarity, 0)))


def _views(grey: np.ndarray) -> np.ndarray:
    """The frames as they are and mirrored, [2, N, FRAMES, H, W]."""
    return np.stack([grey, grey[..., ::-1]])


def _coarse(grey: np.ndarray) -> np.ndarray:
    """The views as unit vectors on the coarse grid, [2, N, FRAMES, COARSE * COARSE]."""
    cells = averaged(_views(grey), COARSE)
    return unit(cells.reshape(*cells.shape[:3], -1))


def unit(pictures: np.ndarray, min_contrast: float = MIN_CONTRAST) -> np.ndarray:
    """Vectors [..., n] with mean 0 and norm 1, float32; 0 if their contrast is below the minimum."""
    centred = pictures - pictures.mean(-1, keepdims=True, dtype=np.float32)
    norm = np.linalg.norm(centred, axis=-1, keepdims=True)
    visible = norm >= min_contrast * np.sqrt(pictures.shape[-1])
    return np.where(visible, centred / np.maximum(norm, 1e-9), 0).astype(np.float32)


def _pooled(pictures: np.ndarray) -> np.ndarray:
    """Thumbnails as unit vectors on the coarse grid, [n, COARSE * COARSE]."""
    side = GRID // COARSE
    cells = pictures.reshape(-1, COARSE, side, COARSE, side).mean((2, 4), dtype=np.float32)
    return unit(cells.reshape(len(cells), -1), min_contrast=0.5)


def _blocks(split: Split) -> Iterator[np.ndarray]:
    """Rows of consecutive videos, of about ROWS_AT_ONCE frames together."""
    order = np.argsort(split.offsets, kind="stable")
    block = split.offsets[order] // ROWS_AT_ONCE
    yield from np.split(order, np.flatnonzero(np.diff(block)) + 1)


class Candidates(NamedTuple):
    """The result of step 1; the last three are [N, CANDIDATES], best first."""

    coarse: np.ndarray  # [2, N, FRAMES, COARSE * COARSE] the clips' frames, as they are and mirrored
    similarity: np.ndarray
    video: np.ndarray
    is_mirrored: np.ndarray  # whether the mirrored clip is more similar


def candidates(grey: np.ndarray, split: Split) -> Candidates:
    """Step 1 of `nearest`."""
    pictures = thumbnails(split)
    coarse = np.concatenate([_coarse(grey[i : i + CLIPS_AT_ONCE]) for i in range(0, len(grey), CLIPS_AT_ONCE)], axis=1)
    _, num_clips, _, size = coarse.shape
    similarity, videos = np.full((num_clips, 0), -1.0, np.float32), np.zeros((num_clips, 0), np.int64)
    is_mirrored = np.zeros((num_clips, 0), bool)
    lengths = split.last_starts + split.spec.frames
    for block in _blocks(split):
        begin, end = split.offsets[block[0]], split.offsets[block[-1]] + lengths[block[-1]]
        product = coarse.reshape(-1, size) @ _pooled(pictures[begin:end]).T
        of_video = np.maximum.reduceat(product, split.offsets[block] - begin, axis=1)
        mean = of_video.reshape(2, num_clips, FRAMES, -1).mean(2)  # [2, N, videos]
        similarity = np.concatenate([similarity, mean.max(0)], axis=1)
        videos = np.concatenate([videos, np.broadcast_to(block, mean.shape[1:])], axis=1)
        is_mirrored = np.concatenate([is_mirrored, mean[1] > mean[0]], axis=1)
        best = np.argsort(-similarity, axis=1, kind="stable")[:, :CANDIDATES]
        similarity, videos, is_mirrored = (np.take_along_axis(part, best, 1) for part in (similarity, videos, is_mirrored))
    return Candidates(coarse, similarity, videos, is_mirrored)


def _aligned(views: np.ndarray, pairs: Pairs, videos: np.ndarray, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Steps 2 and 3 for n clips with candidates `videos`: the similarity of the best candidate and the candidate, each [n]."""
    frames, shape = views.reshape(-1, *views.shape[3:]), (*videos.shape, FRAMES)
    first = _peaks(pairs, pictures, [_template(frames, cells, CENTRE, 0, 0) for cells in CELLS]).reshape(shape).mean(2)
    best = np.argsort(-first, axis=1, kind="stable")[:, :FINALISTS]
    final = Pairs(*(np.take_along_axis(part.reshape(shape), best[:, :, None], 1).ravel() for part in pairs))
    fine = [
        _template(frames, cells, side, down, right)
        for cells in FINE_CELLS for side in FINE_SIDES for down in FINE_OFFSETS for right in FINE_OFFSETS
    ]  # fmt: skip
    second = _peaks(final, pictures, fine).reshape(*best.shape, FRAMES).mean(2)
    second = np.maximum(second, np.take_along_axis(first, best, 1))
    winner = np.take_along_axis(best, second.argmax(1)[:, None], 1)
    return second.max(1), np.take_along_axis(videos, winner, 1)[:, 0]


def _pairs(coarse: np.ndarray, videos: np.ndarray, is_mirrored: np.ndarray, pictures: np.ndarray, split: Split) -> Pairs:
    """The best frame of each candidate by step 1, for each frame of the clip: arrays of n * candidates * FRAMES rows."""
    num_clips = len(videos)
    thumbnail = np.empty((*videos.shape, FRAMES), np.int64)
    lengths = split.last_starts + split.spec.frames
    for clip, candidate in np.ndindex(videos.shape):
        video = videos[clip, candidate]
        begin = split.offsets[video]
        view = coarse[int(is_mirrored[clip, candidate]), clip]
        thumbnail[clip, candidate] = begin + (view @ _pooled(pictures[begin : begin + lengths[video]]).T).argmax(1)
    view_row = (is_mirrored[:, :, None] * num_clips + np.arange(num_clips)[:, None, None]) * FRAMES + np.arange(FRAMES)
    return Pairs(view_row.ravel(), thumbnail.ravel())


def _template(frames: np.ndarray, cells: int, side: float, down: float, right: float) -> np.ndarray:
    """The centre of frames [n, H, W], a share `side` of their height and width, averaged over cells x cells: unit norm.

    down, right: displacement of the part, in cells of the grid.
    """
    size = frames.shape[-1]
    start, cell = size * (1 - side) / 2, size / GRID
    rows = averaging(size, cells, start + down * cell, size * side)
    columns = averaging(size, cells, start + right * cell, size * side)
    return unit((rows @ frames @ columns.T).reshape(len(frames), -1)).reshape(-1, cells, cells)


def _peaks(pairs: Pairs, pictures: np.ndarray, templates: list[np.ndarray]) -> np.ndarray:
    """The largest similarity of each pair over all templates and positions."""
    best = np.full(len(pairs.view), -1.0, np.float32)
    for i in range(0, len(best), PAIRS_AT_ONCE):
        part = slice(i, i + PAIRS_AT_ONCE)
        picture = pictures[pairs.thumbnail[part]].astype(np.float32)
        transform = np.fft.rfft2(picture)
        sums = [_integral(picture), _integral(picture * picture)]
        for template in templates:
            best[part] = np.maximum(best[part], _peak(transform, sums, template[pairs.view[part]]))
    return best


def _integral(pictures: np.ndarray) -> np.ndarray:
    """[n, GRID + 1, GRID + 1] sums of all values above and to the left of each corner."""
    sums = np.zeros((len(pictures), GRID + 1, GRID + 1))
    sums[:, 1:, 1:] = pictures.cumsum(1).cumsum(2)
    return sums


def _peak(transform: np.ndarray, sums: list[np.ndarray], template: np.ndarray) -> np.ndarray:
    """The largest normalised cross-correlation of each template [n, w, w] with its picture."""
    width = template.shape[-1]
    positions = GRID - width + 1
    product = np.conj(np.fft.rfft2(template, s=(GRID, GRID))) * transform
    correlation = np.fft.irfft2(product, s=(GRID, GRID))[:, :positions, :positions]
    total, squares = (
        s[:, width:, width:] - s[:, :-width, width:] - s[:, width:, :-width] + s[:, :-width, :-width] for s in sums
    )
    norm = np.sqrt(np.maximum(squares - total * total / width**2, 0))
    similarity = np.where(norm >= width, correlation / np.maximum(norm, 1e-9), 0)  # below: less than 1 of 127 levels
    return np.asarray(similarity.max((1, 2)))
