"""Decides whether two prepared stores hold the same videos although their bytes differ.

A store's digest is exact, but FFmpeg 8.1 and 8.0 scale 4:2:0 video to different bytes (the frames that they and 7.1 decode
agree). So a store also has a fingerprint: a sha256 over its spec and its index without pixels, and a sketch of coarse
thumbnails. A thumbnail is the luma of a video, averaged over 4 spans of time and 4 x 4 cells. The sketch is 64 sums over all
thumbnail values of all videos, divided by the root of their number; each sum has random signs that follow from the videos'
names. The root mean square difference of two sketches estimates the root mean square difference of all thumbnails (Alon, Matias
and Szegedy, 1996), within 9 % (one standard deviation).

Differences measured at 112x112 on 18 videos (17 generated, one from UCF101), in grey levels:

    FFmpeg 8.0 against 8.1              0 to 0.24 (0.01 for the real video; in colours up to 1.5: it moves their edges)
    saved as JPEG of quality 75         0.12 to 0.26
    shifted by one frame                0.39 to 1.04
    shifted by one pixel                0.3 to 5.1
    full instead of limited range       3.9 to 5.8
    red and blue exchanged              2.6 to 28 in videos with colour

Decoder processes import this file for `thumbnail`, so pydantic and the types that need it are imported inside functions.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Protocol

import numpy as np

from vddbench.system.files import read_json

if TYPE_CHECKING:
    from vddbench.records.record import Record
    from vddbench.spec import Fingerprint

SPANS, CELLS, SUMS = 4, 4, 64
VALUES = SPANS * CELLS * CELLS  # in the thumbnail of one video
STEP = 2.0**-16  # thumbnails are multiples of it, so that sums over videos are exact, in any order
AT_ONCE = 16  # frames in memory: those of one video may take 3 GB
NEAR = 0.3  # grey levels: above the difference between versions of FFmpeg, below that of a shift by one frame
LUMA = np.array((0.299, 0.587, 0.114))  # BT.601, of RGB


class NamesStore(Protocol):
    """A record, a manifest or a StoreId: anything that names the prepared store it belongs to."""

    @property
    def store_digest(self) -> str | None: ...

    @property
    def store_fingerprint(self) -> Fingerprint | None: ...


class StoreId(NamedTuple):
    """The digest and the fingerprint by which records and manifests name a prepared store."""

    store_digest: str | None
    store_fingerprint: Fingerprint | None


class Sketch:
    """Signed sums over the thumbnails of a store's videos, which may be added in any order."""

    def __init__(self) -> None:
        self.sums = np.zeros(SUMS)
        self.num_videos = 0

    def add(self, video: str, values: np.ndarray) -> None:
        """Adds the thumbnail `values` of the video with this id."""
        self.sums += signs(video) @ values.ravel()
        self.num_videos += 1

    def fingerprint(self, rows: str) -> Fingerprint:
        """The fingerprint of the store whose spec and index (without pixels) have the sha256 `rows`."""
        values = self.sums / np.sqrt(max(self.num_videos, 1) * VALUES)
        return f"{rows}:{base64.b64encode(values.astype('<f4').tobytes()).decode()}"


class FramesFile:
    """Frames [n, H, W, 3] uint8 in a file, from frame `first` on; a slice is read when it is accessed."""

    def __init__(self, file: BinaryIO, shape: tuple[int, int, int, int], first: int = 0) -> None:
        self.file, self.shape, self.first = file, shape, first
        self.frame_bytes = shape[1] * shape[2] * shape[3]

    def __getitem__(self, part: slice) -> np.ndarray:
        begin, end, _ = part.indices(self.shape[0])
        self.file.seek((self.first + begin) * self.frame_bytes)
        content = self.file.read((end - begin) * self.frame_bytes)
        return np.frombuffer(content, np.uint8).reshape(-1, *self.shape[1:])


def thumbnail(frames: np.ndarray | FramesFile) -> np.ndarray:
    """The mean luma [SPANS, CELLS, CELLS] of uint8 frames [n, H, W, 3] with H = W >= CELLS.

    If there are fewer than SPANS frames, some of them count for several spans.
    """
    num_frames, size = frames.shape[0], frames.shape[1]
    ends = [max(num_frames * (i + 1) // SPANS, num_frames * i // SPANS + 1) for i in range(SPANS)]
    sums, counts = np.zeros((SPANS, size, size, 3), np.int64), np.empty(SPANS)
    for span, end in enumerate(ends):
        begin = num_frames * span // SPANS
        counts[span] = end - begin
        for at in range(begin, end, AT_ONCE):
            sums[span] += frames[at : min(at + AT_ONCE, end)].sum(0, dtype=np.uint32)
    edges = [size * i // CELLS for i in range(CELLS)]
    pixels = np.diff([*edges, size])
    sums = np.add.reduceat(np.add.reduceat(sums, edges, 1), edges, 2)
    means = sums @ LUMA / (counts[:, None, None] * pixels[:, None] * pixels)
    rounded: np.ndarray = np.rint(means / STEP) * STEP
    return rounded


def signs(video: str) -> np.ndarray:
    """The signs [SUMS, VALUES] (-1 or 1) of a video, the same on every machine."""
    bits = hashlib.shake_256(video.encode("utf-8", "surrogateescape")).digest(SUMS * VALUES // 8)
    return 2.0 * np.unpackbits(np.frombuffer(bits, np.uint8)).reshape(SUMS, VALUES) - 1.0


def distance(one: Fingerprint, other: Fingerprint) -> float:
    """The root mean square difference of two stores' thumbnails in grey levels.

    Infinite if the stores differ in videos, spec or numbers of frames, or if a text is not a fingerprint.
    """
    rows, values = _parts(one)
    other_rows, other_values = _parts(other)
    if rows != other_rows:
        return float("inf")
    difference = float(np.sqrt(np.mean((values - other_values) ** 2)))
    return difference if np.isfinite(difference) else float("inf")


def _parts(text: Fingerprint) -> tuple[str, np.ndarray]:
    rows, _, sums = text.partition(":")
    try:
        values = np.frombuffer(base64.b64decode(sums, validate=True), "<f4").astype(np.float64)
    except (binascii.Error, ValueError):
        values = np.zeros(0)
    return rows, values if len(values) == SUMS else np.full(SUMS, np.nan)


def same_data(one: NamesStore, other: NamesStore) -> bool:
    """Whether both name one prepared store, or two stores that differ only in the version of the decoder."""
    if one.store_digest == other.store_digest:
        return True
    return near(one.store_fingerprint, other.store_fingerprint)


def near(one: Fingerprint | None, other: Fingerprint | None) -> bool:
    """Whether two fingerprints differ no more than those of two decoder versions."""
    return one is not None and other is not None and distance(one, other) <= NEAR


# Which stores share tables


def equivalent_stores(records: Sequence[Record]) -> dict[tuple[str, str], str]:
    """Maps each (dataset, store digest) of the records to the digest of the store that represents it in tables.

    The store with the most submissions represents all stores near it. The same rule then applies to the remaining stores,
    until all have a representative. On a tie, the store that was evaluated first wins. If records state different fingerprints
    for one store, the fingerprint that most submissions state is used.
    """
    votes: dict[tuple[str, str], dict[Fingerprint, set[str]]] = defaultdict(lambda: defaultdict(set))
    submissions: dict[tuple[str, str], set[str]] = defaultdict(set)
    for record in sorted(records, key=lambda record: record.date):
        store = record.task.dataset, record.store_digest
        submissions[store].add(record.submission_sha256)
        if record.store_fingerprint is not None:
            votes[store][record.store_fingerprint].add(record.submission_sha256)
    heads: dict[str, list[tuple[str, Fingerprint | None]]] = defaultdict(list)
    head_of: dict[tuple[str, str], str] = {}
    for dataset, digest in sorted(submissions, key=lambda store: -len(submissions[store])):
        voters = votes.get((dataset, digest), {})
        fingerprint = max(voters, key=lambda text: len(voters[text])) if voters else None
        head = next((other for other, of_other in heads[dataset] if near(fingerprint, of_other)), None)
        head_of[dataset, digest] = head or digest
        if head is None:
            heads[dataset].append((digest, fingerprint))
    return head_of


def shared_table_notes(records: Iterable[Record]) -> Iterator[str]:
    """One line for each group of prepared stores whose records share tables."""
    sharing: dict[tuple[str, str], set[str]] = defaultdict(set)
    for (dataset, digest), head in equivalent_stores(list(records)).items():
        sharing[dataset, head].add(digest)
    for (dataset, _), digests in sharing.items():
        if len(digests) > 1:
            names = ", ".join(sorted(digest[:8] for digest in digests))
            yield (
                f"{dataset}: records of {len(digests)} prepared stores ({names}) share tables: the same videos, decoded by "
                "different versions"
            )


# `vddbench datasets verify NAME --against FILE`


def against(name: str, store: StoreId, path: Path) -> str:
    """A sentence that compares the prepared store `name` with the store that a record, a manifest or a done.json names.

    Raises ValueError if the stores differ or the file names no store, FileNotFoundError if there is no file.
    """
    other = read_store_id(path)
    if other.store_digest == store.store_digest:
        return f"{name} and the store of {path} are the same, byte for byte"
    if store.store_fingerprint is None or other.store_fingerprint is None:
        which = path if other.store_fingerprint is None else name
        raise ValueError(f"{name} has other bytes than the store of {path}, and {which} has no fingerprint to explain why")
    apart = distance(store.store_fingerprint, other.store_fingerprint)
    if apart <= NEAR:
        return (
            f"{name} and the store of {path} have different bytes of the same videos, {apart:.2f} grey levels apart (versions "
            f"of FFmpeg differ by up to {NEAR}): records of both can share tables"
        )
    if apart == float("inf"):
        why = "videos, labels, groups, numbers of frames or the spec differ"
    else:
        why = f"the same list of videos with other frames, {apart:.2f} grey levels apart (decoder versions: at most {NEAR})"
    raise ValueError(f"{name} is not the store of {path}: {why}; records of both can't share tables")


def read_store_id(path: Path) -> StoreId:
    """The store that a record, a manifest or another store's done.json names. Raises ValueError, FileNotFoundError."""
    from pydantic import TypeAdapter

    from vddbench.records.files import MAX_JSON_BYTES
    from vddbench.spec import Fingerprint, Sha256

    wanted = "give a record, a manifest.json or another store's done.json"
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}; {wanted}")
    try:
        content = read_json(path, MAX_JSON_BYTES)
        fields = content if isinstance(content, dict) else {}
        names = [fields.get(f"store_{name}") or fields.get(name) for name in ("digest", "fingerprint")]
        digest, fingerprint = TypeAdapter(tuple[Sha256 | None, Fingerprint | None]).validate_python(names)
    except ValueError as error:  # pydantic's ValidationError is one
        raise ValueError(f"{path} is not a record, manifest or done.json: {str(error).splitlines()[0][:200]}") from None
    if digest is None:
        raise ValueError(f"{path} names no prepared store; {wanted}")
    return StoreId(digest, fingerprint)
