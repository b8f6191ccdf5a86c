"""`vddbench submit`: uploads a distilled set to a dataset repo of its author and proposes its records in a pull request.

Every step looks at what exists before it adds what is missing, so the same command, repeated after any failure, ends with one
dataset repo and one pull request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from vddbench import hub
from vddbench.hub import commits
from vddbench.leaderboard.entry import MIN_SEEDS
from vddbench.leaderboard.exchange import card, payload_download
from vddbench.leaderboard.exchange.upload_plan import Plan, checked, plan
from vddbench.leaderboard.project import LICENCE
from vddbench.spec import Payload
from vddbench.submissions.manifest import DATA
from vddbench.system.progress import clean, say

UNKNOWN = "unknown"  # licence
SEEDS_SHOWN = 10
MAX_LISTED_VIDEOS = 20  # more are counted
FUTURE_COMMIT = "the commit of this upload"


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
    """Raises ValueError with every reason for which the submission would be refused, OSError if the Hub can't be used."""
    made = plan(checked(path), results_repo, repo, results, licence)
    if not made.records and made.is_published:
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
    payload = None if made.is_published else upload(made)
    add = dict(made.records) if payload is None else {made.manifest_path: made.published(payload), **made.records}
    opened = hub.pull_request(made.results, add, made.title, made.text(payload))
    echo(f"{made.results.url}/discussions/{opened.pull_request}")
    say(f"next, a maintainer: vddbench verify {opened.pull_request} --results-repo {results_repo} --merge")


def advice(made: Plan, licence: str) -> list[str]:
    """What an author may want to add; nothing is refused for it."""
    lines = []
    for name, seeds in made.seeds.items():
        if seeds != list(range(len(seeds))):
            shown = ", ".join(map(str, seeds[:SEEDS_SHOWN]))
            lines.append(f"{name}: the seeds {shown} are not 0..n-1, so the entry has no rank; evaluate with --seeds 5")
    few = [name for name, seeds in made.seeds.items() if len(seeds) < MIN_SEEDS]
    if few:
        lines.append(f"{', '.join(few)}: fewer than {MIN_SEEDS} students are shown, but not ranked; evaluate with --seeds 5")
    if not made.is_published and licence == UNKNOWN:
        lines.append("without --licence others do not know how they may use the set; give one, e.g. --licence cc-by-4.0")
    if not made.manifest.authors:
        lines.append("the manifest names no authors: vddbench pack --author NAME (and --paper, --code)")
    return lines


def announced(made: Plan) -> list[str]:
    """Lines that list every file that becomes public."""
    lines = []
    if not made.is_published:
        state = "new" if made.set_sha is None else "changed" if made.set_files else "complete already"
        lines += [f"public on {made.set_repo.url} ({state}):", *_listed(made.set_files)]
        lines += [f"a maintainer who merges it copies {DATA} to {payload_download.copies_of(made.results).url}"]
    add = made.records if made.is_published else {made.manifest_path: b"", **made.records}
    lines += [f"public on {made.results.url} under {LICENCE}, as a pull request {made.title!r} in your name:"]
    return lines + _listed(add)


def _listed(add: Mapping[str, hub.Content]) -> list[str]:
    rows = []
    videos = [len(data) for path, data in add.items() if path.startswith(f"{card.CLIPS}/") and isinstance(data, bytes)]
    if is_long := len(videos) > MAX_LISTED_VIDEOS:
        rows.append(f"  {card.CLIPS}/*.mp4  {len(videos)} files, {sum(videos):,} bytes")
    for path, data in add.items():
        if is_long and path.startswith(f"{card.CLIPS}/"):
            continue
        size = len(data) if isinstance(data, bytes) else data.stat().st_size
        rows.append(f"  {path}  {size:,} bytes" if size else f"  {path}")
    return rows


def dry(made: Plan) -> list[str]:
    """The texts that would be sent."""
    payload = None
    if not made.is_published:
        payload = payload_download.payload_of(made.set_repo, FUTURE_COMMIT if made.set_files else str(made.set_sha))
    texts = {
        path: data.decode()
        for path, data in made.set_files.items()
        if path.endswith((".md", ".csv")) and isinstance(data, bytes)
    }
    if payload is not None:
        texts[made.manifest_path] = made.published(payload).decode()
    texts[f"the text of {made.title!r}"] = made.text(payload)
    return [clean(f"\n--- {name}\n{text}") for name, text in texts.items()]


def upload(made: Plan) -> Payload:
    """Commits the files that the set's repo lacks, the payload in the last commit, whose hash the manifest will name."""
    hub.create(made.set_repo)
    sha = made.set_sha
    message = f"{made.manifest.task}, distilled by {made.manifest.method}, for vddbench"
    paths = sorted(made.set_files, key=lambda path: not path.startswith(f"{card.CLIPS}/"))
    for first in range(0, len(paths), commits.COMMIT_FILES):
        part = {path: made.set_files[path] for path in paths[first : first + commits.COMMIT_FILES]}
        sha = hub.commit(made.set_repo, part, message).sha
    assert sha is not None
    return payload_download.payload_of(made.set_repo, sha)
