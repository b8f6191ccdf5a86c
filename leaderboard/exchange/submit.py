"""`vddbench submit`: a distilled set into a dataset repo of its author's, its manifest and records as a pull request.

Every step looks at what is there before it adds what is missing, so that the same command, repeated after whatever happened,
ends with one dataset repo and one pull request.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from rich.console import Console

from vddbench import hub
from vddbench.leaderboard.exchange import card, mirror
from vddbench.leaderboard.exchange import ownership as claims
from vddbench.leaderboard.exchange import payload_download as sets
from vddbench.leaderboard.rank import MIN_SEEDS
from vddbench.records.files import all_record_files, read_record
from vddbench.spec import DatasetSpec, Manifest, Payload, Submission
from vddbench.submissions import check, submission
from vddbench.submissions.manifest import MANIFEST, MAX_MANIFEST_BYTES
from vddbench.system.progress import clean, say

REPORT_WIDTH = 110
UNKNOWN = "unknown"  # licence
TO_COME = "the commit of this upload"


@dataclass(frozen=True)
class Plan:
    """What a submission becomes on the Hub."""

    results: hub.Repo
    cell: str  # TASK/METHOD[-sN]@SHA8
    manifest: Manifest  # as it is on main, where it is
    report: str  # of `vddbench check`
    records: dict[str, hub.Content]  # that main lacks, by path in the results repo
    there: bool  # on main: the manifest, and it says where the set is
    repo: hub.Repo  # of the set
    lacks: dict[str, hub.Content]  # of the set, by path
    at: str | None  # the commit that the set's repo is at; None: there is no such repo yet

    @property
    def title(self) -> str:
        return f"Add {self.cell}"

    @property
    def manifest_path(self) -> str:
        return f"{mirror.SUBMISSIONS}/{self.cell}/{MANIFEST}"

    def published(self, payload: Payload) -> bytes:
        return self.manifest.model_copy(update={"payload": payload}).model_dump_json(indent=2).encode() + b"\n"

    def text(self, payload: Payload | None) -> str:
        """Of the pull request."""
        where = "lies where its published manifest says" if payload is None else f"<{payload.url}> at `{payload.revision}`"
        count = sum(path.endswith(".json") for path in self.records)  # none where main's manifest lacked the set alone
        return f"{count} records of `{self.cell}`. The distilled set: {where}.\n\n{card.fenced(self.report)}\n"


def submit(
    path: Path,
    results_repo: str,
    *,
    repo: str | None,
    results: Sequence[Path],
    licence: str,
    dry_run: bool,
    echo: Callable[[str], None],
) -> None:
    """Raises ValueError with every reason for which the submission would be refused, OSError when the Hub can't be used."""
    found, report, spec = checked(path)
    made = plan(found, report, spec, results_repo, repo, results, licence)
    if not made.records and made.there:
        say(f"{made.cell} and all its records are on {made.results.url} already; nothing to do")
        return
    for line in announced(made):
        (echo if dry_run else say)(line)
    for line in advice(made, licence):
        say(line, style="yellow")
    if dry_run:
        for text in dry(made):
            echo(text)
        echo("nothing was sent")
        return
    payload = None if made.there else upload(made)
    add = dict(made.records) if payload is None else {made.manifest_path: made.published(payload), **made.records}
    opened = hub.pull_request(made.results, add, made.title, made.text(payload))
    echo(f"{made.results.url}/discussions/{opened.pull_request}")
    say(f"next, a maintainer: vddbench verify {opened.pull_request} --results-repo {results_repo} --merge")


def advice(made: Plan, licence: str) -> list[str]:
    """What an author may regret later; nothing is refused for it."""
    found = []
    students = Counter(path.split("/")[3] for path in made.records if path.endswith(".json"))
    few = [name for name, count in students.items() if count < MIN_SEEDS]
    if few:
        found.append(f"{', '.join(few)}: fewer than {MIN_SEEDS} students are shown and not ranked; evaluate with --seeds 5")
    if not made.there and licence == UNKNOWN:
        found.append("without --licence nobody may know what they may do with the set, e.g. --licence cc-by-4.0")
    if not made.manifest.authors:
        found.append("no authors are stated: vddbench pack --author NAME (and --paper, --code)")
    return found


def checked(path: Path) -> tuple[Submission, str, DatasetSpec]:
    """(the submission, the report of its check as text, its dataset's spec)."""
    report = check.check(path)
    if report.reasons:
        raise ValueError("\n".join([f"{path} would be refused:", *report.reasons]))
    assert report.manifest is not None and report.task is not None and report.spec is not None
    if report.task.ipc is None:
        raise ValueError(
            f"{report.task} has no budget: its payload is the train split itself, which is not yours to publish; its records "
            "are published by the maintainers"
        )
    text = io.StringIO()
    check.render(report, Console(file=text, width=REPORT_WIDTH, color_system=None))
    shown = text.getvalue().replace(str(report.path), f"{report.task}/{report.path.name}")  # nobody's folders
    return submission.read(path, report.spec), shown.rstrip(), report.spec


def plan(
    found: Submission,
    report: str,
    spec: DatasetSpec,
    results_repo: str,
    repo: str | None,
    results: Sequence[Path],
    licence: str,
) -> Plan:
    """Looks at both repos; changes nothing."""
    manifest, board = found.manifest, hub.Repo(results_repo)
    cell = manifest.cell
    own = records_of(cell, manifest, results)
    there = hub.listing(board)
    of_set = hub.Repo(repo or f"{hub.whoami()}/vddbench-{manifest.task}-{manifest.folder}")
    on_main = manifest_on(board, there, f"{mirror.SUBMISSIONS}/{cell}/{MANIFEST}", manifest)
    published = on_main is not None and on_main.payload is not None
    if not published:
        claims.check_name(board, there, manifest, of_set.id.partition("/")[0])
    content = {} if published else card.files(found, spec, of_set, licence)
    now = hub.listing(of_set) if not published and hub.exists(of_set) else None
    if now is not None and hub.is_private(of_set):
        raise ValueError(
            f"{of_set} is private, so that nobody could verify what is in it: make it public in {of_set.url}/settings, or name "
            "another one with --repo"
        )
    if now is not None and card.CARD in now.files:
        content.pop(card.CARD)  # its author may have written more
    mine = own.keys() - there.files.keys() - claims.taken(own, there)
    missing = {path: data for path, data in content.items() if now is None or not now.holds(path, data)}
    return Plan(
        results=board,
        cell=cell,
        manifest=on_main or manifest,
        report=report,
        records={path: file for path, file in own.items() if path in mine},
        there=published,
        repo=of_set,
        lacks=missing,
        at=now.sha if now else None,
    )


def manifest_on(repo: hub.Repo, there: hub.Listing, path: str, own: Manifest) -> Manifest | None:
    """The manifest of this submission on main; None where there is none. One without a payload came with records that somebody
    published alone; where the set is is then the one thing to be added. Raises ValueError for another submission's."""
    if path not in there.files:
        return None
    data = hub.fetch(repo, path, there.sha, MAX_MANIFEST_BYTES).read_bytes()
    try:
        found = Manifest.model_validate_json(data)
    except ValidationError as error:
        raise ValueError(f"{path} of {repo} is not valid ({error.errors()[0]['msg'][:200]}): tell its maintainers") from error
    if (found.task, found.folder, found.sha256) != (own.task, own.folder, own.sha256):
        raise ValueError(
            f"{path} of {repo} is of the payload {found.sha256[:16]}, yours is {own.sha256[:16]}: their hashes begin alike; "
            "distill with another seed"
        )
    return found


def records_of(cell: str, manifest: Manifest, results: Sequence[Path]) -> dict[str, hub.Content]:
    """{path in the results repo: file} of every record of this submission that verifies, with its predictions; the others are
    named. Raises FileNotFoundError when there is none."""
    found: dict[str, hub.Content] = {}
    for path in (path for root in results for path in all_record_files(root, cell)):
        try:
            record, _ = read_record(path)
        except (ValueError, OSError) as error:
            say(f"left out: {error}", style="yellow")
            continue
        if record.submission_sha256 == manifest.sha256:
            found |= mirror.files_of(path, record)
    if not found:
        roots = ", ".join(map(str, results))
        raise FileNotFoundError(
            f"no valid record of {cell} in {roots}; make some first: vddbench evaluate PATH, or --results DIR"
        )
    return found


def announced(made: Plan) -> list[str]:
    """What everybody will see."""
    lines = []
    if not made.there:
        new = "new" if made.at is None else "changed" if made.lacks else "there already"
        lines += [f"public on {made.repo.url} ({new}):", *_listed(made.lacks)]
    add = made.records if made.there else {made.manifest_path: b"", **made.records}
    lines += [f"public on {made.results.url}, as a pull request {made.title!r} in your name:"]
    return lines + _listed(add)


def _listed(add: Mapping[str, hub.Content]) -> list[str]:
    rows = []
    for path, data in add.items():
        size = len(data) if isinstance(data, bytes) else data.stat().st_size
        rows.append(f"  {path}  {size:,} bytes" if size else f"  {path}")
    return rows


def dry(made: Plan) -> list[str]:
    """The texts that would be sent."""
    payload = None if made.there else sets.payload_of(made.repo, TO_COME if made.lacks else str(made.at))
    shown = {f"the text of {made.title!r}": made.text(payload)}
    if payload is not None:
        shown = {made.manifest_path: made.published(payload).decode(), **shown}
    texts = {
        path: data.decode() for path, data in made.lacks.items() if path.endswith((".md", ".csv")) and isinstance(data, bytes)
    }
    return [clean(f"\n--- {name}\n{text}") for name, text in {**texts, **shown}.items()]


def upload(made: Plan) -> Payload:
    """One commit with what the set's repo lacks."""
    hub.create(made.repo)
    if not made.lacks:
        assert made.at is not None
        return sets.payload_of(made.repo, made.at)
    done = hub.commit(made.repo, made.lacks, f"{made.manifest.task}, distilled by {made.manifest.method}, for vddbench")
    return sets.payload_of(made.repo, done.sha)
