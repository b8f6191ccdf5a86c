"""Options of the commands that use a cluster, and what their texts mean."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

if TYPE_CHECKING:  # help needs no pydantic
    from vddbench.cluster.jobs import Cluster

ClusterName = Annotated[str, typer.Option(help="slurm, or local: this machine")]
Bundle = Annotated[str, typer.Option(help="cells per task; auto: as many as take about 10 minutes")]
PerGpu = Annotated[int, typer.Option(min=1, help="cells on one GPU at a time, with --cluster local")]
RESOURCES: dict[str, Any] = {  # options that override the site's settings
    "partition": Annotated[str | None, typer.Option(help="Slurm's partition")],
    "account": Annotated[str | None, typer.Option(help="Slurm's account")],
    "qos": Annotated[str | None, typer.Option(help="Slurm's QOS")],
    "constraint": Annotated[str | None, typer.Option(help="features that nodes must have")],
    "exclude": Annotated[str | None, typer.Option(help="nodes to exclude")],
    "reservation": Annotated[str | None, typer.Option(help="Slurm's reservation")],
    "gpus": Annotated[int | None, typer.Option(min=0, help="GPUs per task (default 1)")],
    "gpu_type": Annotated[str | None, typer.Option(help="type of GPU, for sites that demand one: --gres=gpu:TYPE:N")],
    "cpus": Annotated[int | None, typer.Option(min=1, help="cores per task (default 4)")],
    "mem": Annotated[float | None, typer.Option(min=0, help="GB per task (default 16); 0: request no memory")],
    "mem_per_cpu": Annotated[float | None, typer.Option(help="GB per core, instead of --mem")],
    "sbatch": Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help='another option of sbatch, e.g. "--nodes=1"; repeatable')
    ],
    "time": Annotated[int | None, typer.Option(min=1, help="minutes per task (default 60)")],
    "max_parallel": Annotated[int | None, typer.Option(min=1, help="tasks that run at the same time")],
    "setup": Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help='shell line before Python starts, e.g. "module load cuda"; repeatable'),
    ],
}


def with_resources(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options of RESOURCES to a command, which receives those that the user gave in the dict `asked`."""

    @functools.wraps(command)
    def wrapped(**options: Any) -> None:
        given = {name: options.pop(name) for name in RESOURCES}
        command(**options, asked={name: value for name, value in given.items() if value is not None and value != []})

    parameters = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "asked"]
    kind = inspect.Parameter.KEYWORD_ONLY
    parameters += [inspect.Parameter(name, kind, default=None, annotation=option) for name, option in RESOURCES.items()]
    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {p.name: p.annotation for p in parameters}
    return wrapped


def cluster_named(name: str) -> Cluster:
    """Raises LookupError unless it is slurm or local."""
    if name not in {"slurm", "local"}:
        raise LookupError(f"--cluster {name[:40]!r} is unknown; allowed: slurm, local")
    return cast("Cluster", name)


def bundle_size(text: str) -> int | None:
    """Cells per task; None for auto. Raises LookupError."""
    if text == "auto":
        return None
    if not text.isdecimal() or not 0 < int(text) <= 10_000:
        raise LookupError(f"--bundle {text[:40]!r}: auto, or 1 to 10000 cells per task")
    return int(text)
