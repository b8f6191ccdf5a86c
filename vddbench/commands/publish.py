"""`vddbench publish`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vddbench.commands.options import friendly
from vddbench.commands.settings import remembered
from vddbench.system.progress import clean, say

if TYPE_CHECKING:
    from vddbench.leaderboard.publish.destination import Destination

RESULTS, SUBMISSIONS = Path("results"), Path("submissions")


@friendly
def publish(
    results_repo: Annotated[
        str | None, typer.Option(help="dataset repo of the records, e.g. ORG/vddbench-results (default: the one given last)")
    ] = None,
    space: Annotated[
        str | None, typer.Option(help="static Space of the board, e.g. ORG/vddbench (default: the one given last)")
    ] = None,
    results: Annotated[
        list[Path] | None, typer.Option(metavar="FOLDER", help="folder of records; may be repeated (default: results)")
    ] = None,
    submissions: Annotated[
        list[Path] | None, typer.Option(metavar="FOLDER", help="folder of submissions; may be repeated (default: submissions)")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the commits; change nothing on the Hub")] = False,
    local: Annotated[Path | None, typer.Option(help="write both repositories into this folder; needs no network")] = None,
    outbox: Annotated[
        Path | None, typer.Option(help="write to this folder, without a network, what another machine publishes later")
    ] = None,
    tag: Annotated[str | None, typer.Option(help="tag this state of the results repo as a release, e.g. v1.0")] = None,
    previews: Annotated[
        bool, typer.Option("--previews", help="download the published distilled sets, to show their clips on the board")
    ] = False,
    eval_yaml: Annotated[
        bool, typer.Option("--eval-yaml", help="also write eval.yaml, which the Hub accepts only from benchmarks on its list")
    ] = False,
) -> None:
    """Publish records, tables and the board to the Hugging Face Hub.

    The command can be interrupted and repeated, and several people can run it at once. Both repositories must be new, empty or
    written by this command. Records whose prepared store or protocol differs from that of most submissions are left out of
    the tables and listed.
    """
    if sum([dry_run, local is not None, outbox is not None]) > 1:
        raise LookupError("--dry-run, --local and --outbox exclude each other: give one of them")
    if tag is not None and (dry_run or local is not None or outbox is not None):
        raise LookupError("--tag names what is published: it cannot be given with --dry-run, --local or --outbox")
    if previews and (local is not None or outbox is not None):
        raise LookupError("--previews needs a network: it cannot be given with --local or --outbox")
    results = results if results is not None else [root for root in (RESULTS,) if root.is_dir()]
    submissions = submissions if submissions is not None else [root for root in (SUBMISSIONS,) if root.is_dir()]
    if outbox is not None:
        _to_outbox(outbox, results, submissions)
        return
    from vddbench import hub
    from vddbench.leaderboard.publish import publish as publishing
    from vddbench.leaderboard.publish.destination import Destination

    records_in = hub.Repo(remembered("results_repo", results_repo))
    board_in = hub.Repo(remembered("space", space), "space")
    destination = Destination(records_in, board_in, with_eval=eval_yaml, with_sets=previews)
    if local is not None:
        for folder in publishing.write_trees(destination, results, submissions, local):
            typer.echo(f"wrote {folder}")
    elif dry_run:
        _print_plan(destination, results, submissions)
    else:
        commits = publishing.publish(destination, results, submissions, tag)
        typer.echo(_counted(len(commits)) if commits else "nothing to publish: the Hub has everything")
        typer.echo(f"{destination.results.url}\n{destination.space.url}")


def _print_plan(destination: Destination, results: list[Path], submissions: list[Path]) -> None:
    from vddbench import hub
    from vddbench.leaderboard.publish import publish as publishing

    for repo in (destination.results, destination.space):
        if not hub.exists(repo):
            typer.echo(f"{repo} does not exist yet and would be created")
    count = 0
    for commit in publishing.plan(destination, results, submissions):
        count += 1
        typer.echo(clean(commit.description()))
    typer.echo(f"{_counted(count)}; nothing was sent" if count else "nothing to publish: the Hub has everything")


def _counted(commits: int) -> str:
    return f"{commits} commit{'' if commits == 1 else 's'}"


def _to_outbox(outbox: Path, results: list[Path], submissions: list[Path]) -> None:
    from vddbench.leaderboard.publish.outbox import write_outbox

    count = write_outbox(outbox, results, submissions)
    say(
        f"{count} files added to {outbox}; on a machine with a network: vddbench publish --results {outbox}/records "
        f"--submissions {outbox}/submissions --results-repo ORG/vddbench-results --space ORG/vddbench"
    )
