"""What is known of a submission beside its records: its manifest, the bytes of its tensors, previews of its clips.

Everything here may be a stranger's. Torch is imported where a payload is read, not before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vddbench.data.fingerprint import same_data
from vddbench.leaderboard.evidence import Evaluated
from vddbench.leaderboard.site.inventory import PayloadView, PreviewFile, Previews, Tensor
from vddbench.records.record import Record
from vddbench.spec import DatasetSpec, Manifest, Task
from vddbench.submissions.manifest import DATA, MANIFEST, read_manifest
from vddbench.system.files import canonical_json
from vddbench.system.progress import say

NOT_AT_HAND = "The payload was not at hand when the page was built, so there are no previews."
Identity = tuple[Task, str, str]  # task, METHOD or METHOD-sN, sha256 of the payload


@dataclass(frozen=True)
class Found:
    """A submission on this machine."""

    folder: Path
    manifest: Manifest


def identity(record: Record) -> Identity:
    return record.task, record.folder, record.submission_sha256


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
            due = {f"{manifest.task}/{manifest.folder}", manifest.cell}
            if f"{path.parent.parent.name}/{path.parent.name}" not in due:  # it would speak for another's page
                refused.append(f"{path}: by its fields it belongs in {' or '.join(sorted(due))}")
                continue
            if key not in found or (not _has_payload(found[key]) and (path.parent / DATA).exists()):
                found[key] = Found(path.parent, manifest)
    return found, refused


def _has_payload(found: Found) -> bool:
    return (found.folder / DATA).exists()


def published(manifests: Path, payloads: Sequence[Path]) -> tuple[dict[Identity, Found], list[str]]:
    """As `find`: submissions by the manifests that everybody has, each with its payload where that is here. What else there is
    here plays no part, so that every publisher shows the same."""
    found, refused = find([manifests])
    here, _ = find(payloads)
    for key in found.keys() & here.keys():
        if _has_payload(here[key]) and here[key].manifest.decoder == found[key].manifest.decoder:
            found[key] = Found(here[key].folder, found[key].manifest)
    return found, refused


def prepared(one: Evaluated) -> DatasetSpec | None:
    """Of the prepared store that a record was made on, where it is here."""
    from vddbench.data.store import Store, prepared_names

    dataset = one.record.task.dataset
    if dataset not in prepared_names():
        return None
    try:
        store = Store.open(dataset)
    except (ValueError, OSError):  # damaged: the classes have numbers then
        return None
    return store.spec if same_data(one.record, store.id) else None


def bundled(one: Evaluated) -> DatasetSpec | None:
    """Of a dataset in the package, where its classes fit."""
    from vddbench import lookup

    dataset = one.record.task.dataset
    if dataset not in lookup.names("dataset"):
        return None
    spec: DatasetSpec = lookup.load("dataset", dataset).SPEC
    return spec if spec.num_classes == one.record.num_classes else None


def look(
    found: Found | None,
    spec: DatasetSpec | None,
    folder: Path,
    before: PayloadView | None = None,
    there: PayloadView | None = None,
) -> PayloadView:
    """Reads the payload and writes its previews to `folder`, unless those of an earlier build are of the same bytes. Never
    raises for what a stranger can cause.

    before: of the last build in this folder. there: what the page shows where it is published, empty where it shows nothing;
    what can't be made here stays as it is there, and previews of the same bytes are not made again.
    """
    known = [each.previews for each in (there, before) if each is not None and each.previews is not None]
    kept = there.previews if there is not None else None
    here = _look(found, spec, folder, [each for each in known if each is kept or _is_in(folder, each)])
    if there is None or found is None or here.previews is not None:
        return here
    if there.previews is not None or (there.tensors and here.tensors in ((), there.tensors)):
        return there
    if not here.tensors and here.missing != NOT_AT_HAND:  # of this machine, not of the submission
        say(f"no previews of {found.folder}: {here.missing}")
        return PayloadView(missing=NOT_AT_HAND)
    return here


def _is_in(folder: Path, previews: Previews) -> bool:
    return all((folder / each.file).is_file() for each in previews.shown)


def _look(found: Found | None, spec: DatasetSpec | None, folder: Path, known: Sequence[Previews]) -> PayloadView:
    if found is None:
        return PayloadView(missing="No manifest of this submission was at hand when the page was built.")
    if not _has_payload(found):
        return PayloadView(missing=NOT_AT_HAND)
    from vddbench.submissions import payload, submission

    try:
        data = submission.data_file(found.folder.resolve())
        submission.check_sha256(found.folder.resolve(), found.manifest)
        entries = payload.entries(data)
    except (ValueError, OSError) as error:
        return PayloadView(missing=f"The payload was refused: {error}")
    tensors = tuple(
        Tensor(name=each.name, dtype=str(each.dtype).removeprefix("torch."), shape=each.shape, num_bytes=each.num_bytes)
        for each in entries
    )
    if spec is None:
        return PayloadView(
            tensors=tensors, missing="There are no previews: the dataset was not prepared where the page was built."
        )
    try:
        return PayloadView(tensors=tensors, previews=_previews(found, spec, folder, known))
    except (ValueError, LookupError) as error:
        return PayloadView(tensors=tensors, missing=f"There are no previews: {error}")


def _previews(found: Found, spec: DatasetSpec, folder: Path, known: Sequence[Previews]) -> Previews:
    from vddbench.submissions import previews, submission

    follows_from = [previews.VERSION, found.manifest.sha256, found.manifest.decoder, spec.model_dump(mode="json")]
    of = hashlib.sha256(canonical_json(follows_from)).hexdigest()
    if (same := next((each for each in known if each.of == of), None)) is not None:
        return same
    made = previews.write(submission.read(found.folder, spec), spec, folder)
    return Previews(
        of=of, shown=tuple(PreviewFile(file=each.file, label=each.label, class_name=each.class_name) for each in made)
    )
