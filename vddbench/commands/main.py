"""The command line, put together from commands/. Options select, they don't tune.

Exit codes: 0 done, 1 refused, 2 wrong usage, 3 records are missing (`batch collect`), 130 interrupted.
"""

from __future__ import annotations

import typer

from vddbench.commands.batch import batch, doctor
from vddbench.commands.datasets import datasets, prepare
from vddbench.commands.exchange import pull, reproduce, submit, verify
from vddbench.commands.publish import publish
from vddbench.commands.results import demo, diff, evaluate, power, rank
from vddbench.commands.site import site
from vddbench.commands.submissions import check, distill, pack, schema

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="The referee for video dataset distillation: prepare, distill or pack, check, evaluate, rank.",
)
for command in (
    prepare, distill, pack, check, evaluate, rank, diff, power, publish, submit, verify, pull, reproduce,
    demo, schema, doctor,
):  # fmt: skip
    app.command()(command)
for name, group in (("datasets", datasets), ("batch", batch), ("site", site)):
    app.add_typer(group, name=name)


def main() -> None:
    app()
