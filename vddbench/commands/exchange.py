"""`vddbench submit`, `verify`, `pull` and `reproduce`: what goes between people by the Hub. Mounted in cli.main."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vddbench.commands.options import Device, Results, Roots, friendly, parse_task
from vddbench.system.progress import clean, say

ResultsRepo = Annotated[str, typer.Option(help="the results repo on the Hub, ORG/vddbench-results")]
Submissions = Annotated[Path, typer.Option(help="folder of the submissions")]
PUBLISHED = Path("published")


def echo(line: str) -> None:
    typer.echo(clean(line))


@friendly
def submit(
    path: Annotated[Path, typer.Argument(metavar="SUBMISSION", help="submissions/TASK/METHOD")],
    results_repo: ResultsRepo,
    repo: Annotated[
        str | None, typer.Option(help="OWNER/NAME for the distilled set (default YOU/vddbench-TASK-METHOD)")
    ] = None,
    results: Roots = [Path("results")],  # noqa: B006 - typer reads it
    licence: Annotated[str, typer.Option(help="of the distilled set, as the Hub calls it, e.g. cc-by-4.0")] = "unknown",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print what would be uploaded; upload nothing")] = False,
) -> None:
    """Publish a distilled set as a dataset of yours and propose its records for the board, as a pull request."""
    from vddbench.leaderboard.exchange.submit import submit as run

    run(path, results_repo, repo=repo, results=results, licence=licence, dry_run=dry_run, echo=echo)


@friendly
def verify(
    target: Annotated[
        str, typer.Argument(metavar="PR|SUBMISSION", help="number of a pull request, or submissions/TASK/METHOD")
    ],
    results_repo: Annotated[str | None, typer.Option(help="with a pull request: ORG/vddbench-results")] = None,
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="students of each network to train again, drawn by lot here")] = 3,
    results: Annotated[
        Path | None, typer.Option(help="folder of the records (default results; of a pull request verifying/results)")
    ] = None,
    submissions: Submissions = Path("submissions"),
    into: Annotated[Path, typer.Option(help="where copies of pull requests go")] = Path("verifying"),
    by: Annotated[str | None, typer.Option(help="with a folder: your name (default: as the Hub knows you)")] = None,
    push: Annotated[bool, typer.Option("--push", help="commit re-runs and reviews to the pull request")] = False,
    merge: Annotated[bool, typer.Option("--merge", help="--push, then merge what was verified and nothing else")] = False,
    device: Device = None,
) -> None:
    """For maintainers: check a submission, train a sample of its students again, say whether they come out as they should."""
    from vddbench import hub
    from vddbench.leaderboard.exchange.verdict import user_name
    from vddbench.leaderboard.exchange.verify import verify_pull_request, verify_submission
    from vddbench.system.device import named_device

    place = named_device(device) if device else None
    if not target.isdecimal():
        if push or merge:
            raise LookupError(f"{'--merge' if merge else '--push'} goes with the number of a pull request")
        me = user_name(by) if by is not None else hub.whoami()
        verify_submission(Path(target), by=me, count=seeds, results=results or Path("results"), echo=echo, device=place)
        return
    if results_repo is None:
        raise LookupError(f"pull request {target} of which --results-repo ORG/vddbench-results?")
    if by is not None:
        raise LookupError("a pull request is verified in the name that the Hub knows: leave --by out")
    verify_pull_request(
        int(target), hub.Repo(results_repo), count=seeds, submissions=submissions, results=results or into / "results",
        into=into, push=push, merge=merge, echo=echo, device=place,
    )  # fmt: skip


@friendly
def pull(
    results_repo: ResultsRepo,
    task: Annotated[list[str] | None, typer.Option(help="only this task; may be repeated")] = None,
    into: Annotated[Path, typer.Option(help="folder of the copy")] = PUBLISHED,
    submissions: Annotated[bool, typer.Option("--submissions", help="the distilled sets, too")] = False,
) -> None:
    """Fetch published records, reviews and manifests; only what is missing. The copy's records/ is a folder of results."""
    from vddbench import hub
    from vddbench.leaderboard.exchange import mirror

    tasks = [str(parse_task(name)) for name in task or ()]
    repo = hub.Repo(results_repo)
    found = mirror.pull(repo, into, tasks)
    if tasks and not found.paths:
        raise LookupError(f"{repo} has nothing of {', '.join(tasks)}; without --task everything is fetched")
    kinds = {kind: sum(path.startswith(f"{kind}/") and path.endswith(".json") for path in found.paths) for kind in
             (mirror.RECORDS, mirror.REVIEWS, mirror.SUBMISSIONS)}  # fmt: skip
    say(f"{into}: {', '.join(f'{count} {kind}' for kind, count in kinds.items())}; {found.fetched} files were new")
    if submissions:
        from vddbench.leaderboard.exchange.payload_download import SETS, fetch_all

        say(f"{fetch_all(into, found.paths)} distilled sets in {into / SETS}/SHA8/TASK/METHOD")
    echo(f"vddbench rank --results {into / mirror.RECORDS}")


@friendly
def reproduce(
    record: Annotated[Path, typer.Argument(metavar="RECORD", help="a record's .json, local or in published/records")],
    submissions: Submissions = Path("submissions"),
    results: Results = Path("results"),
    by: Annotated[str | None, typer.Option(help="your name (default: as the Hub knows you)")] = None,
    push: Annotated[bool, typer.Option("--push", help="propose the re-run and its review as a pull request")] = False,
    results_repo: Annotated[str | None, typer.Option(help="with --push: ORG/vddbench-results")] = None,
    device: Device = None,
) -> None:
    """Train the student of a record again and say whether its score comes out. Can be interrupted and repeated."""
    from vddbench.leaderboard.exchange.reproduce import reproduce as run
    from vddbench.system.device import named_device

    place = named_device(device) if device else None
    run(record, submissions=submissions, results=results, by=by, push=push, results_repo=results_repo, echo=echo, device=place)
