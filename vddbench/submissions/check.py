"""`vddbench check`: what a submission holds and costs, and every reason for which it would be refused.

Everything is measured from the files; nothing is taken from the manifest. The checks are those of submission.py.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow as pa

from vddbench.data.store import Split
from vddbench.spec import ClipSet, DatasetSpec
from vddbench.submissions import appearance
from vddbench.submissions.leaks import scan_once
from vddbench.submissions.manifest import data_file
from vddbench.submissions.report import NAMES_SHOWN, Contents, Report
from vddbench.submissions.submission import OpenedSubmission, open_submission
from vddbench.submissions.tensors import value_range
from vddbench.system.progress import bar

CHUNK_BYTES = 4_000_000


def check(path: str | Path, spec: DatasetSpec | None = None) -> Report:
    """Makes every check of a submission and measures what it holds; `print` shows the report.

    path: the folder submissions/TASK/METHOD. spec: the dataset if it is neither prepared nor bundled. Raises
    FileNotFoundError if there is no such folder; whatever else is wrong is in the report's `reasons`.
    """
    return examine(open_submission(Path(path), spec))


def examine(opened: OpenedSubmission) -> Report:
    """Decodes an opened submission and returns the report on it."""
    warnings: list[str] = []
    contents = None
    if opened.is_too_large:
        warnings.append("the payload is too far over budget to be hashed and decoded: correct that and check again")
    clip_set = opened.decode()
    if clip_set is not None and opened.spec is not None:
        contents = contents_of(clip_set, opened.spec, opened.store.train if opened.store else None)
        warnings += warnings_of(contents, opened.spec)
    if clip_set is not None and opened.manifest is not None and opened.store is not None and not opened.reasons:
        compared = scan_once(clip_set, opened.manifest, opened.store)
        warnings += compared.warnings if compared else []
    data = data_file(opened.folder) if opened.entries else None
    return Report(
        path=opened.folder,
        manifest=opened.manifest,
        task=opened.task,
        spec=opened.spec,
        entries=opened.entries,
        zstd_bytes=zstd_bytes(data) if data else None,
        contents=contents,
        reasons=opened.reasons,
        warnings=tuple(warnings),
    )


def contents_of(clip_set: ClipSet, spec: DatasetSpec, train: Split | None = None) -> Contents:
    """Counts clips and distinct clips and measures values, one clip at a time because the clips may be memory-mapped.

    train: the train split to compare with, if the dataset is prepared.
    """
    labels = clip_set.labels if clip_set.labels.ndim == 1 else clip_set.labels.argmax(1)
    seen: list[set[bytes]] = [set() for _ in range(spec.num_classes)]
    lows, highs = [], []
    with bar("measuring clips", len(clip_set)) as progress:
        for clip, label in zip(clip_set.clips, labels.tolist(), strict=True):
            seen[label].add(hashlib.sha256(clip.contiguous().numpy().data).digest())
            low, high = value_range(clip)
            lows.append(low)
            highs.append(high)
            progress.advance()
    return Contents(
        per_class=tuple(labels.bincount(minlength=spec.num_classes).tolist()),
        distinct_per_class=tuple(len(hashes) for hashes in seen),
        num_distinct=len(set().union(*seen)),
        num_constant=sum(low == high for low, high in zip(lows, highs, strict=True)),
        low=min(lows),
        high=max(highs),
        appearance=appearance.of_clips(clip_set),
        train=appearance.of_train(train) if train else None,
    )


def warnings_of(contents: Contents, spec: DatasetSpec) -> list[str]:
    """Warnings about content that is accepted but probably a mistake, one line each."""
    warnings = []
    absent = [name for name, count in zip(spec.class_names, contents.per_class, strict=True) if not count]
    if absent:
        more = f" and {len(absent) - NAMES_SHOWN} more" if len(absent) > NAMES_SHOWN else ""
        classes = "1 class" if len(absent) == 1 else f"{len(absent)} classes"
        warnings.append(f"no clip of {classes}: {', '.join(absent[:NAMES_SHOWN])}{more}")
    if copies := sum(contents.per_class) - contents.num_distinct:
        warnings.append(f"{copies:,} clips are copies of another one: they cost bytes and teach nothing new")
    if contents.num_constant:
        warnings.append(f"{contents.num_constant:,} clips hold one single value")
    if max(abs(contents.low), abs(contents.high)) <= 10:
        warnings.append(
            f"values from {contents.low:.4g} to {contents.high:.4g} look normalised; clips are stored on the 0-255 scale, "
            "`vddbench pack` converts"
        )
    if contents.train and (difference := appearance.differs(contents.appearance, contents.train)):
        warnings.append(difference)
    return warnings


def zstd_bytes(path: Path) -> int:
    """The size of the file compressed by zstd at pyarrow's default level. The file is streamed, not held in memory."""
    counted = pa.MockOutputStream()
    with (
        path.open("rb") as file,
        pa.CompressedOutputStream(counted, "zstd") as compressed,
        bar("compressing", path.stat().st_size) as progress,
    ):
        while chunk := file.read(CHUNK_BYTES):
            compressed.write(chunk)
            progress.advance(len(chunk))
    return int(counted.size())
