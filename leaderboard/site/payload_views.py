"""What a submission's page shows of the payload: sizes of its tensors and previews of its clips.

Payloads may come from strangers. Torch is imported only where a payload is read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from vddbench.leaderboard.site.inventory import PayloadView, PreviewFile, Previews, TensorSize
from vddbench.leaderboard.site.local_submissions import LocalSubmission
from vddbench.spec import DatasetSpec
from vddbench.system.files import canonical_json
from vddbench.system.progress import say

NO_MANIFEST = "The manifest of this submission was not available when this page was built."
NO_PAYLOAD = "The distilled clips were not available when this page was built, so there are no previews."
NO_TORCH = "There are no previews: PyTorch, which decodes clips, was not installed where this page was built."
NO_STORE = "There are no previews: the dataset was not prepared on the machine that built this page."


def payload_view(
    submission: LocalSubmission | None,
    spec: DatasetSpec | None,
    folder: Path,
    previous: PayloadView | None = None,
    published: PayloadView | None = None,
) -> PayloadView:
    """Reads a payload and writes its previews into `folder`, unless an earlier build made the same ones.

    A malformed payload never raises: the view says what is wrong with it.

    previous: view of the last build in this folder. published: view on the Space, empty if the Space has no such page,
    None if the site is not published. Whatever cannot be made on this machine stays as it is published.
    """
    reusable = [] if published is None or published.previews is None else [published.previews]
    if previous is not None and previous.previews is not None and _all_exist(folder, previous.previews):
        reusable.append(previous.previews)
    local = _local_view(submission, spec, folder, reusable)
    if published is None or submission is None or local.previews is not None:
        return local
    if published.previews is not None or (published.tensors and local.tensors in ((), published.tensors)):
        return published
    if not local.tensors and local.missing != NO_PAYLOAD:  # a fault of this machine's copy: other visitors must not see it
        say(f"no previews of {submission.folder}: {local.missing}")
        return PayloadView(missing=NO_PAYLOAD)
    return local


def _all_exist(folder: Path, previews: Previews) -> bool:
    return all((folder / name).is_file() for name in previews.names)


def _local_view(
    submission: LocalSubmission | None, spec: DatasetSpec | None, folder: Path, reusable: Sequence[Previews]
) -> PayloadView:
    if submission is None:
        return PayloadView(missing=NO_MANIFEST)
    if not submission.has_payload or find_spec("torch") is None:
        return PayloadView(missing=NO_TORCH if submission.has_payload else NO_PAYLOAD)
    from vddbench.submissions import payload
    from vddbench.submissions.manifest import data_file
    from vddbench.submissions.rules import check_sha256

    try:
        data = data_file(submission.folder.resolve())
        check_sha256(submission.folder.resolve(), submission.manifest)
        entries = payload.entries(data)
    except (ValueError, OSError) as error:
        return PayloadView(missing=f"The payload was refused: {error}")
    tensors = tuple(
        TensorSize(name=entry.name, dtype=payload.dtype_name(entry.dtype), shape=entry.shape, num_bytes=entry.num_bytes)
        for entry in entries
    )
    if spec is None:
        return PayloadView(tensors=tensors, missing=NO_STORE)
    try:
        return PayloadView(tensors=tensors, previews=_previews(submission, spec, folder, reusable))
    except (ValueError, LookupError) as error:
        return PayloadView(tensors=tensors, missing=f"There are no previews: {error}")


def _previews(submission: LocalSubmission, spec: DatasetSpec, folder: Path, reusable: Sequence[Previews]) -> Previews:
    """The reusable previews of the same source, else new ones."""
    from vddbench.submissions import previews
    from vddbench.submissions.submission import read

    manifest = submission.manifest
    source = [previews.VERSION, manifest.sha256, manifest.decoder, spec.model_dump(mode="json")]
    digest = hashlib.sha256(canonical_json(source)).hexdigest()
    for known in reusable:
        if known.source_digest == digest:
            return known
    written = previews.write(read(submission.folder, spec), spec, folder)
    files = (PreviewFile(file=p.file, label=p.label, class_name=p.class_name, still=p.still) for p in written)
    return Previews(source_digest=digest, files=tuple(files))
