"""`vddbench reproduce`: evaluates the cell of a record again and compares; the result is a record with `by`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from vddbench import hub
from vddbench.evaluation.evaluate import NETWORK
from vddbench.evaluation.ready import open_ready
from vddbench.leaderboard.exchange import card, mirror, model_repo, payload_download
from vddbench.leaderboard.exchange.rerun import (
    Comparison,
    OwnRuns,
    VerifiedRecord,
    check_comparable,
    compared,
    copied,
    read_one,
    records_in,
)
from vddbench.records.files import address
from vddbench.submissions.manifest import MANIFEST
from vddbench.submissions.submission import spec_of
from vddbench.system.device import chosen_device
from vddbench.system.files import check_writable


@dataclass(frozen=True)
class Model:
    """Where the trained network is published."""

    repo: hub.Repo  # a model repo
    results: hub.Repo  # the results repo that has the record
    licence: str


def reproduce(
    path: Path,
    *,
    by: str,
    reruns: Path,
    submissions: Path,
    push_to: hub.Repo | None,
    echo: Callable[[str], None],
    device: torch.device | None = None,
    model: Model | None = None,
) -> Path:
    """Prints the comparison and returns the file of the new record, in the results folder `reruns`.

    A call that was interrupted resumes when it is repeated. push_to: propose the new record to this results repo. model: also
    publish the trained network. Raises ValueError before anything is trained if record or submission cannot be compared with
    what this machine has, or if something cannot be published as it should be.
    """
    claim = read_one(path)
    if push_to is not None:
        check_published(claim, push_to)
    if model is not None:
        check_published(claim, model.results)
        model_repo.check_model(model.repo, model.licence)
    check_writable(reruns)
    scored = open_ready(submission_of(claim, submissions))
    check_comparable(scored, claim)
    own_runs = OwnRuns(scored, by, chosen_device(device), keep_networks=model is not None)
    again = own_runs.train(claim.record.student, claim.record.seed)
    others, _ = records_in(claim.path.parents[3], claim.record.cell)
    of_student = [one for one in others if one.record.student == claim.record.student and one.record.by is None]
    comparison = compared([claim], [again], of_student, scored.store)
    for line in comparison.lines():
        echo(line)
    [path] = copied([again], reruns)
    if push_to is not None:
        echo(propose(comparison, push_to))
    if model is not None:
        weights = again.path.with_suffix(NETWORK)
        echo(model_repo.publish_model(model.repo, model.results, claim, again, weights, scored.store.spec, model.licence))
    return path


def submission_of(claim: VerifiedRecord, submissions: Path) -> Path:
    """The folder of a record's submission, in `submissions` or in the copy of a results repo that contains the record.

    Downloads the set if that copy lacks it. Raises FileNotFoundError with the places that were searched.
    """
    record, (name, _, _) = claim.record, claim.path.parents[1].name.partition("@")
    copy = claim.path.parents[4]  # the copy of a results repo, if the record is in one
    for root in (submissions, copy / payload_download.SETS / record.submission_sha256[:8]):
        if folder := payload_download.local(root, record.task, name, record.submission_sha256):
            return folder
    path = copy / mirror.SUBMISSIONS / record.cell / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(
            f"no submission with sha256 {record.submission_sha256[:16]} in {submissions / str(record.task) / name}, and no "
            f"{path} that says where it is; give --submissions DIR, or `vddbench pull` and a record in published/records"
        )
    manifest = payload_download.manifest_at(path)
    if manifest.sha256 != record.submission_sha256:
        raise ValueError(
            f"{path} belongs to another submission: its sha256 is {manifest.sha256[:16]}, the record's "
            f"{record.submission_sha256[:16]}"
        )
    return payload_download.fetch(manifest, copy / payload_download.SETS, spec_of(record.task.dataset))


def check_published(claim: VerifiedRecord, repo: hub.Repo) -> None:
    """Raises ValueError if the results repo lacks this record."""
    published = next(iter(mirror.files_of(claim.path, claim.record)))
    if published not in hub.listing(repo).files:
        raise ValueError(
            f"{repo} has no {published}: only re-runs of published records can be proposed; run `vddbench submit` first"
        )


def propose(comparison: Comparison, repo: hub.Repo) -> str:
    """Opens a pull request with the re-run; returns its address."""
    [claim], [own] = comparison.claimed, comparison.own
    files = hub.listing(repo).files
    add: dict[str, hub.Content] = {
        path: file for path, file in mirror.files_of(own.path, own.record).items() if path not in files
    }
    if not add:
        return f"{repo.url} has this re-run already"
    title = f"Reproduce {claim.name}.{address(claim.path.read_bytes())}"
    lines = "\n".join(comparison.lines())
    text = f"A published record, evaluated again:\n\n{card.fenced(lines)}\n"  # a stranger's text stays text
    return f"{repo.url}/discussions/{hub.pull_request(repo, add, title, text).pull_request}"
