"""What is known of a submission beside its records: its manifest, the bytes of its tensors, previews of its clips.

Everything here may be a stranger's. Torch is imported where a payload is read, not before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from leaderboard.evidence import Evaluated
from leaderboard.site.built import Previews, Shown
from vddbench.atomic import canonical_json
from vddbench.manifest import DATA, MANIFEST, read_manifest
from vddbench.spec import DatasetSpec, Manifest, Record, Task

Identity = tuple[str, str, str]  # task, METHOD or METHOD-sN, sha256 of the payload


@dataclass(frozen=True)
class Tensor:
    """A row of the storage table."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    num_bytes: int


@dataclass(frozen=True)
class Found:
    """A submission on this machine."""

    folder: Path
    manifest: Manifest


@dataclass(frozen=True)
class Looked:
    """What its payload shows; `missing` says why it shows nothing."""

    tensors: tuple[Tensor, ...] = ()
    previews: Previews | None = None
    missing: str = ""


def identity(record: Record) -> Identity:
    folder = record.method if record.distill_seed == 0 else f"{record.method}-s{record.distill_seed}"
    return record.task, folder, record.submission_sha256


def find(roots: Sequence[Path]) -> tuple[dict[Identity, Found], list[str]]:
    """Submissions below folders, by what their manifests say they are, and one line for each manifest that is refused.

    Of one that is in several places, the first that has its payload beside it.
    """
    found: dict[Identity, Found] = {}
    refused = []
    for root in roots:
        for path in sorted(root.glob(f"*/*/{MANIFEST}")):
            try:
                manifest = read_manifest(path.parent.resolve())
            except (ValueError, OSError) as error:
                refused.append(f"{path}: {error}")
                continue
            key = manifest.task, manifest.folder, manifest.sha256
            if key not in found or (not _has_payload(found[key]) and (path.parent / DATA).exists()):
                found[key] = Found(path.parent, manifest)
    return found, refused


def _has_payload(found: Found) -> bool:
    return (found.folder / DATA).exists()


def spec_for(one: Evaluated) -> DatasetSpec | None:
    """Of the prepared store that a record was made on, where it is here; of a dataset in the package where its classes fit."""
    from vddbench import lookup
    from vddbench.store import Store, prepared_names

    dataset = Task.parse(one.record.task).dataset
    if dataset in prepared_names():
        try:
            store = Store.open(dataset)
        except (ValueError, OSError):  # damaged: the classes have numbers then
            return None
        return store.spec if store.digest == one.record.store_digest else None
    if dataset in lookup.names("dataset"):
        spec: DatasetSpec = lookup.load("dataset", dataset).SPEC
        return spec if spec.num_classes == one.record.num_classes else None
    return None


def look(found: Found | None, spec: DatasetSpec | None, folder: Path, before: Previews | None = None) -> Looked:
    """Reads the payload and writes its previews to `folder`, unless those of an earlier build are of the same bytes. Never
    raises for what a stranger can cause."""
    if found is None:
        return Looked(missing="No manifest of this submission was at hand when the page was built.")
    if not _has_payload(found):
        return Looked(missing="The payload was not at hand when the page was built, so there are no previews.")
    from vddbench import payload, submission

    try:
        data = submission.data_file(found.folder.resolve())
        submission.check_sha256(found.folder.resolve(), found.manifest)
        entries = payload.entries(data)
    except (ValueError, OSError) as error:
        return Looked(missing=f"The payload was refused: {error}")
    tensors = tuple(Tensor(each.name, str(each.dtype).removeprefix("torch."), each.shape, each.num_bytes) for each in entries)
    if spec is None:
        return Looked(tensors, missing="There are no previews: the dataset was not prepared where the page was built.")
    try:
        return Looked(tensors, _previews(found, spec, folder, before))
    except (ValueError, LookupError) as error:
        return Looked(tensors, missing=f"There are no previews: {error}")


def _previews(found: Found, spec: DatasetSpec, folder: Path, before: Previews | None) -> Previews:
    from vddbench import previews, submission

    follows_from = [previews.VERSION, found.manifest.sha256, found.manifest.decoder, spec.model_dump(mode="json")]
    of = hashlib.sha256(canonical_json(follows_from)).hexdigest()
    if before is not None and before.of == of and all((folder / each.file).is_file() for each in before.shown):
        return before
    made = previews.write(submission.read(found.folder, spec), spec, folder)
    return Previews(of=of, shown=tuple(Shown(file=each.file, label=each.label, class_name=each.class_name) for each in made))
