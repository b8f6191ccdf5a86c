"""Submissions on this machine, found by their manifests. Everything in them may come from strangers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vddbench.records.record import Record
from vddbench.spec import Manifest, Task
from vddbench.submissions.manifest import DATA, MANIFEST, read_manifest

Identity = tuple[Task, str, str]  # task, METHOD or METHOD-sN, sha256 of the payload


@dataclass(frozen=True)
class LocalSubmission:
    """A manifest, and the folder where its payload may be."""

    folder: Path
    manifest: Manifest

    @property
    def has_payload(self) -> bool:
        return (self.folder / DATA).exists()


def identity(record: Record) -> Identity:
    """The key of a record's submission in the result of `find_submissions`."""
    return record.task, record.folder, record.submission_sha256


def find_submissions(roots: Sequence[Path]) -> tuple[dict[Identity, LocalSubmission], list[str]]:
    """All submissions below the folders, and one line for each manifest that is refused.

    If a submission is in several places, the first place with a payload counts.
    """
    submissions: dict[Identity, LocalSubmission] = {}
    refused = []
    for root in roots:
        for path in sorted(root.glob(f"*/*/{MANIFEST}")):
            try:
                manifest = read_manifest(path.parent.resolve())
            except (ValueError, OSError) as error:
                refused.append(f"{path}: {error}")
                continue
            allowed = [f"{manifest.task}/{manifest.folder}", manifest.cell]
            if f"{path.parent.parent.name}/{path.parent.name}" not in allowed:  # it would change another submission's page
                refused.append(f"{path}: its task, method and seed say that it belongs in {' or '.join(allowed)}")
                continue
            key = manifest.task, manifest.folder, manifest.sha256
            submission = LocalSubmission(path.parent, manifest)
            if key not in submissions or (submission.has_payload and not submissions[key].has_payload):
                submissions[key] = submission
    return submissions, refused


def find_published(manifests: Path, payloads: Sequence[Path]) -> tuple[dict[Identity, LocalSubmission], list[str]]:
    """The published submissions, each with its payload if one of the `payloads` folders has it.

    Only published manifests count, so every publisher shows the same pages.
    """
    published, refused = find_submissions([manifests])
    local, _ = find_submissions(payloads)
    for key in published.keys() & local.keys():
        if local[key].has_payload and local[key].manifest.decoder == published[key].manifest.decoder:
            published[key] = LocalSubmission(local[key].folder, published[key].manifest)
    return published, refused
