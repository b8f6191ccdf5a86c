"""Finds out what `vddbench submit` has to upload: what the set's repo and the results repo lack. Changes nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vddbench import hub
from vddbench.leaderboard.exchange import card, mirror, ownership
from vddbench.leaderboard.exchange.proposal import manifest_of
from vddbench.leaderboard.publish.cards import space_in
from vddbench.leaderboard.publish.destination import CARD, MAX_CARD_BYTES
from vddbench.records.files import read_record, record_files
from vddbench.records.fresh_seeds import FIRST
from vddbench.records.record import Record
from vddbench.spec import DatasetSpec, Manifest, Payload, Submission
from vddbench.submissions.check import examine
from vddbench.submissions.manifest import MANIFEST
from vddbench.submissions.submission import open_submission
from vddbench.system.progress import say


@dataclass(frozen=True)
class Checked:
    """A submission that `vddbench check` accepts."""

    submission: Submission
    spec: DatasetSpec
    report: str  # of the check, as text


@dataclass(frozen=True)
class Plan:
    """What `submit` will upload."""

    results: hub.Repo
    cell: str  # TASK/METHOD[-sN]@SHA8
    manifest: Manifest  # main's, if main has it
    report: str
    records: dict[str, hub.Content]  # missing on main, by path in the results repo
    seeds: dict[str, list[int]]  # of these records and of those on main, by student
    is_published: bool  # main has the manifest, and it says where the set is
    set_repo: hub.Repo
    set_files: dict[str, hub.Content]  # missing in the set's repo, by path
    set_sha: str | None  # newest commit of the set's repo; None if the repo does not exist

    @property
    def title(self) -> str:
        return f"Add {self.cell}"

    @property
    def manifest_path(self) -> str:
        return f"{mirror.SUBMISSIONS}/{self.cell}/{MANIFEST}"

    def published(self, payload: Payload) -> bytes:
        """The manifest as it is published, with the address of the set."""
        return self.manifest.model_copy(update={"payload": payload}).model_dump_json(indent=2).encode() + b"\n"

    def text(self, payload: Payload | None) -> str:
        """The pull request's description."""
        where = "is where its published manifest says" if payload is None else f"<{payload.url}> at `{payload.revision}`"
        count = sum(path.endswith(".json") for path in self.records)
        return f"{count} records of `{self.cell}`. The distilled set: {where}.\n\n{card.fenced(self.report)}\n"


def checked(path: Path) -> Checked:
    """Raises ValueError with every reason for which the submission would be refused."""
    opened = open_submission(path)
    report = examine(opened)
    if report.reasons:
        raise ValueError("\n".join([f"{path} would be refused:", *report.reasons]))
    assert report.manifest is not None and report.task is not None and report.spec is not None
    if report.task.ipc is None:
        raise ValueError(
            f"{report.task} has no budget: its payload is the train split itself, which you may not publish; the maintainers "
            "publish its records"
        )
    shown = str(report).replace(str(report.path), f"{report.task}/{report.path.name}")  # hides the author's folders
    return Checked(opened.accepted(), report.spec, shown)


def plan(accepted: Checked, results_repo: str, repo: str | None, results: Sequence[Path], licence: str) -> Plan:
    """Finds out what both repos lack; changes nothing."""
    manifest, board = accepted.submission.manifest, hub.Repo(results_repo)
    cell = manifest.cell
    own = records_of(manifest, results)
    main = hub.listing(board)
    set_repo = hub.Repo(repo or f"{hub.whoami()}/vddbench-{manifest.task}-{manifest.folder}")
    on_main = manifest_on(board, main, f"{mirror.SUBMISSIONS}/{cell}/{MANIFEST}", manifest)
    is_published = on_main is not None and on_main.payload is not None
    content: dict[str, hub.Content] = {}
    set_listing = None
    if not is_published:
        ownership.check_name(board, main, manifest, set_repo.id.partition("/")[0])
        records = [Record.model_validate_json(file.read_bytes()) for path, file in own.items() if path.endswith(".json")]
        context = card.Context(set_repo, licence, board, space_of(board, main), records)
        content = card.files(accepted.submission, accepted.spec, context)
        set_listing = hub.listing(set_repo) if hub.exists(set_repo) else None
    if set_listing is not None and hub.is_private(set_repo):
        raise ValueError(
            f"{set_repo} is private, so nobody could verify its content: make it public in {set_repo.url}/settings, or name "
            "another repo with --repo"
        )
    if set_listing is not None and card.CARD in set_listing.files:
        content.pop(card.CARD)  # its author may have written more
    missing = own.keys() - main.files.keys() - ownership.taken(own, main)
    on_board = [path for path in main.files if path.startswith(f"{mirror.RECORDS}/{cell}/") and mirror.most_bytes(path)]
    return Plan(
        results=board,
        cell=cell,
        manifest=on_main or manifest,
        report=accepted.report,
        records={path: file for path, file in own.items() if path in missing},
        seeds=claimed_seeds([*on_board, *missing]),
        is_published=is_published,
        set_repo=set_repo,
        set_files={path: data for path, data in content.items() if set_listing is None or not set_listing.holds(path, data)},
        set_sha=set_listing.sha if set_listing else None,
    )


def claimed_seeds(paths: Iterable[str]) -> dict[str, list[int]]:
    """The seeds of an author's records by student, from their paths in the results repo, without verifying students' seeds."""
    seeds: dict[str, set[int]] = defaultdict(set)
    for path in paths:
        if path.endswith(".json"):
            student, name = path.split("/")[3:5]
            seeds[student].add(int(name.partition(".")[0].removeprefix("seed")))
    return {student: sorted(seed for seed in of_student if seed < FIRST) for student, of_student in sorted(seeds.items())}


def space_of(results: hub.Repo, main: hub.Listing) -> str:
    """The Space of the board, which the card of the results repo names; "" if it has no such card."""
    remote = main.files.get(CARD)
    if remote is None or remote.size > MAX_CARD_BYTES:
        return ""
    return space_in(hub.fetch(results, CARD, main.sha, MAX_CARD_BYTES).read_bytes())


def manifest_on(repo: hub.Repo, main: hub.Listing, path: str, own: Manifest) -> Manifest | None:
    """Main's manifest of this submission; None if main has none. It lacks `payload` if only the records were published.

    Raises ValueError if it is not valid or belongs to another submission.
    """
    if path not in main.files:
        return None
    try:
        manifest = manifest_of(repo, path, main)
    except ValueError as error:
        raise ValueError(f"{error}: tell its maintainers") from error
    if (manifest.task, manifest.folder, manifest.sha256) != (own.task, own.folder, own.sha256):
        raise ValueError(
            f"{path} of {repo} belongs to the payload {manifest.sha256[:16]}, yours is {own.sha256[:16]}: their hashes begin "
            "alike; distill with another seed"
        )
    return manifest


def records_of(manifest: Manifest, results: Sequence[Path]) -> dict[str, Path]:
    """{path in the results repo: file} of the author's valid records of this submission, with their predictions.

    Invalid records are named and left out; re-runs and records of protocol sdd are left out. Raises FileNotFoundError if no
    record remains.
    """
    files: dict[str, Path] = {}
    for path in (path for root in results for path in record_files(root, manifest.cell)):
        try:
            record, _ = read_record(path)
        except (ValueError, OSError) as error:
            say(f"left out: {error}", style="yellow")
            continue
        if record.submission_sha256 == manifest.sha256 and record.by is None and not record.is_replay:
            files |= mirror.files_of(path, record)
    if not files:
        roots = ", ".join(map(str, results))
        raise FileNotFoundError(
            f"no valid record of {manifest.cell} in {roots}; make some first: vddbench evaluate PATH, or --results DIR"
        )
    return files
