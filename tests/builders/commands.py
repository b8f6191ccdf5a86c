"""Runs the command line as a user would."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from vddbench.commands.main import app


def call(*args: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(a) for a in args])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, " ".join(result.output.split())
