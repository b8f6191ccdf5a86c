"""`vddbench publish`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vddbench.commands.options import friendly
from vddbench.system.progress import clean, say

RESULTS, SUBMISSIONS = Path("results"), Path("submissions")


@friendly
def publish(
    results_repo: Annotated[str | None, typer.Option(help="ORG/vddbench-results, a dataset repo")] = None,
    space: Annotated[str | None, typer.Option(help="ORG/vddbench, a static Space")] = None,
    results: Annotated[list[Path] | None, typer.Option(help="folder of records; may be repeated (default results)")] = None,
    submissions: Annotated[
        list[Path] | None, typer.Option(help="folder of submissions; may be repeated (default submissions)")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the commits; change nothing on the Hub")] = False,
    local: Annotated[Path | None, typer.Option(help="write both repositories into this folder; no network")] = None,
    outbox: Annotated[
        Path | None, typer.Option(help="without a network: collect here what is published later from another machine")
    ] = None,
    tag: Annotated[str | None, typer.Option(help="name this state of the results repo, e.g. v1.0")] = None,
    previews: Annotated[
        bool,
        typer.Option("--previews", help="fetch the distilled sets that are published, so that the board shows their clips"),
    ] = False,
    eval_yaml: Annotated[
        bool, typer.Option("--eval-yaml", help="also eval.yaml; the Hub takes it from benchmarks on its list only")
    ] = False,
) -> None:
    """Publish records, tables and the board to the Hugging Face Hub. Can be interrupted, repeated, and done by several.

    Both repos must be new, empty or made by this command. A record there of another prepared store or protocol than most
    submissions have is left out of the tables and named.
    """
    if sum([dry_run, local is not None, outbox is not None]) > 1:
        raise LookupError("--dry-run, --local and --outbox: one of them at a time")
    if tag is not None and (dry_run or local is not None or outbox is not None):
        raise LookupError("--tag names what is published: leave --dry-run, --local and --outbox out")
    if previews and (local is not None or outbox is not None):
        raise LookupError("--previews needs a network: leave --local and --outbox out")
    found = results if results is not None else [root for root in (RESULTS,) if root.is_dir()]
    made = submissions if submissions is not None else [root for root in (SUBMISSIONS,) if root.is_dir()]
    if outbox is not None:
        _to_outbox(outbox, found, made)
        return
    if results_repo is None or space is None:
        raise LookupError("publish needs --results-repo ORG/vddbench-results and --space ORG/vddbench")
    from vddbench import hub
    from vddbench.leaderboard.publish import publish as publishing
    from vddbench.leaderboard.publish.destination import Destination

    target = Destination(hub.Repo(results_repo), hub.Repo(space, "space"), eval_yaml, previews)
    if local is not None:
        for folder in publishing.write_trees(target, found, made, local):
            typer.echo(f"wrote {folder}")
    elif dry_run:
        for repo in (target.results, target.space):
            if not hub.exists(repo):
                typer.echo(f"{repo} is not there yet and would be made")
        commits = 0
        for planned in publishing.plan(target, found, made):
            commits += 1
            typer.echo(clean(planned.shown()))
        typer.echo(f"{commits} commits; nothing was sent" if commits else "nothing to publish: all is there")
    else:
        commits = len(publishing.publish(target, found, made, tag))
        typer.echo(f"{commits} commits" if commits else "nothing to publish: all is there")
        typer.echo(f"{target.results.url}\n{target.space.url}")


def _to_outbox(outbox: Path, results: list[Path], submissions: list[Path]) -> None:
    from vddbench.leaderboard.publish.local_files import write_outbox

    count = write_outbox(outbox, results, submissions)
    say(
        f"{count} files added to {outbox}; where there is a network: vddbench publish --results {outbox}/records "
        f"--submissions {outbox}/submissions --results-repo ORG/vddbench-results --space ORG/vddbench"
    )
