"""`vddbench submit`, `verify`, `pull` and `reproduce`: exchange of sets and records on the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vddbench.commands.options import Device, Roots, friendly, parse_task
from vddbench.commands.settings import remembered
from vddbench.system.progress import clean, say

ResultsRepo = Annotated[
    str | None, typer.Option(help="the results repo on the Hub, ORG/vddbench-results (default: the one given last)")
]
Submissions = Annotated[Path, typer.Option(help="folder of the submissions")]
Reruns = Annotated[Path | None, typer.Option(help="results folder to copy your records to (default reruns/NAME)")]
By = Annotated[str | None, typer.Option(help="your name (default: your user name on the Hub)")]
PUBLISHED, RERUNS = Path("published"), Path("reruns")


def echo(line: str) -> None:
    typer.echo(clean(line))


@friendly
def submit(
    path: Annotated[Path, typer.Argument(metavar="SUBMISSION", help="submissions/TASK/METHOD")],
    results_repo: ResultsRepo = None,
    repo: Annotated[
        str | None, typer.Option(help="dataset repo for the distilled set, OWNER/NAME (default YOU/vddbench-TASK-METHOD)")
    ] = None,
    results: Roots = [Path("results")],  # noqa: B006 - typer reads it
    licence: Annotated[
        str, typer.Option(help="licence of the distilled set, an identifier of the Hub, e.g. cc-by-4.0")
    ] = "unknown",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print what would be uploaded; upload nothing")] = False,
) -> None:
    """Publish a distilled set as a dataset of yours and propose its records for the board in a pull request."""
    from vddbench.leaderboard.exchange.submit import submit as run

    run(path, remembered("results_repo", results_repo), repo=repo, results=results, licence=licence, dry_run=dry_run, echo=echo)


@friendly
def verify(
    target: Annotated[
        str, typer.Argument(metavar="PR|SUBMISSION", help="number of a pull request, or submissions/TASK/METHOD")
    ],
    results_repo: ResultsRepo = None,
    seeds: Annotated[int, typer.Option(min=3, max=1000, help="how many students of each network to train, on fresh seeds")] = 3,
    results: Annotated[Path, typer.Option(help="to verify a folder: folder of its claimed records")] = Path("results"),
    submissions: Submissions = Path("submissions"),
    into: Annotated[Path, typer.Option(help="to verify a pull request: folder to copy it to")] = Path("verifying"),
    reruns: Reruns = None,
    by: By = None,
    push: Annotated[bool, typer.Option("--push", help="add your re-runs to the pull request")] = False,
    merge: Annotated[bool, typer.Option("--merge", help="as --push, then merge exactly what was verified")] = False,
    device: Device = None,
) -> None:
    """For maintainers: check a submission, train its students on seeds that nobody could choose, and compare the scores.

    Ends with exit code 1 if the claims are above your own result by more than the 95 % interval of the difference allows.
    Can be interrupted and repeated.
    """
    from vddbench import hub
    from vddbench.leaderboard.exchange.verify import verify_folder, verify_pull_request
    from vddbench.system.device import named_device

    place = named_device(device) if device else None
    if not target.isdecimal():
        if push or merge:
            raise LookupError(f"{'--merge' if merge else '--push'} needs the number of a pull request, not a folder")
        me = _name(by)
        own = reruns or RERUNS / me
        verify_folder(Path(target), by=me, count=seeds, results=results, reruns=own, echo=echo, device=place)
        return
    if by is not None or reruns is not None:
        raise LookupError("--by and --reruns are for a folder; a pull request is verified under your user name on the Hub")
    verify_pull_request(
        int(target), hub.Repo(remembered("results_repo", results_repo)), count=seeds, submissions=submissions, into=into,
        then="merge" if merge else "push" if push else "nothing", echo=echo, device=place,
    )  # fmt: skip


@friendly
def pull(
    results_repo: ResultsRepo = None,
    task: Annotated[list[str] | None, typer.Option(metavar="TEXT", help="only this task; may be repeated")] = None,
    into: Annotated[Path, typer.Option(help="folder to copy to")] = PUBLISHED,
    submissions: Annotated[bool, typer.Option("--submissions", help="also download the distilled sets")] = False,
) -> None:
    """Download the published records and manifests that are missing on this machine.

    The folder records/ of the copy is a results folder, for example for `vddbench rank`.
    """
    from vddbench import hub
    from vddbench.leaderboard.exchange import mirror

    tasks = [str(parse_task(name)) for name in task or ()]
    repo = hub.Repo(remembered("results_repo", results_repo))
    pulled = mirror.pull(repo, into, tasks)
    kinds = (mirror.RECORDS, mirror.SUBMISSIONS)
    counts = {kind: sum(path.startswith(f"{kind}/") and path.endswith(".json") for path in pulled.paths) for kind in kinds}
    if tasks and not any(counts.values()):
        raise LookupError(f"{repo} has nothing of {', '.join(tasks)}; without --task everything is fetched")
    say(f"{into}: {', '.join(f'{count} {kind}' for kind, count in counts.items())}; {pulled.fetched} new files")
    if submissions:
        from vddbench.leaderboard.exchange.payload_download import SETS, copies_of, fetch_all

        say(f"{fetch_all(into, pulled.paths, copies_of(repo))} distilled sets in {into / SETS}/SHA8/TASK/METHOD")
    echo(f"next: vddbench rank --results {into / mirror.RECORDS}")


@friendly
def reproduce(
    record: Annotated[Path, typer.Argument(metavar="RECORD", help="a record's .json, local or in published/records")],
    submissions: Submissions = Path("submissions"),
    reruns: Reruns = None,
    by: By = None,
    push: Annotated[bool, typer.Option("--push", help="propose your record in a pull request")] = False,
    results_repo: ResultsRepo = None,
    model: Annotated[
        str | None,
        typer.Option(help="also publish the trained network as this model repo, OWNER/NAME, with its score for the Hub"),
    ] = None,
    licence: Annotated[str, typer.Option(help="with --model: licence of the network, an identifier of the Hub")] = "unknown",
    device: Device = None,
) -> None:
    """Train the student of a record again, with the same seed, and compare both scores. Can be interrupted and repeated."""
    from vddbench import hub
    from vddbench.leaderboard.exchange.reproduce import Model
    from vddbench.leaderboard.exchange.reproduce import reproduce as run
    from vddbench.system.device import named_device

    me = _name(by)
    if push and by is not None and me != hub.whoami():
        raise LookupError(f"--by {me} with --push: the pull request is opened by {hub.whoami()}; leave --by out")
    board = hub.Repo(remembered("results_repo", results_repo)) if push or model else None
    published = Model(hub.Repo(model, "model"), board, licence) if model and board else None
    run(
        record,
        by=me,
        reruns=reruns or RERUNS / me,
        submissions=submissions,
        push_to=board if push else None,
        echo=echo,
        device=named_device(device) if device else None,
        model=published,
    )


def _name(by: str | None) -> str:
    from vddbench import hub
    from vddbench.leaderboard.exchange.rerun import user_name

    if by is not None:
        return user_name(by)
    try:
        return hub.whoami()
    except (PermissionError, ConnectionError) as error:
        raise type(error)(f"{error}; or give your name with --by NAME") from None
