"""The settings file, $VDDBENCH_HOME/settings.json: repositories that were named once; later commands use them by default."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from vddbench.system.files import read_json, write_whole
from vddbench.system.home import home
from vddbench.system.locks import locked
from vddbench.system.progress import say

MAX_BYTES = 10_000
Setting = Literal["results_repo", "space"]
EXAMPLES: dict[Setting, str] = {"results_repo": "ORG/vddbench-results", "space": "ORG/vddbench"}


def settings_file() -> Path:
    return home() / "settings.json"


def remembered(name: Setting, given: str | None) -> str:
    """The given value, which the settings file keeps for later commands; without one, the value of an earlier command.

    Raises LookupError if neither exists, what `hub.Repo` raises for a wrong name, and ValueError for a damaged settings file.
    """
    from vddbench import hub

    if given is not None:
        hub.Repo(given)  # a wrong name is not remembered
        if _read().get(name) != given:
            with locked(settings_file().with_suffix(".lock"), remove=True):  # another command may write another setting now
                settings = _read()
                write_whole(settings_file(), json.dumps({**settings, name: given}, indent=1).encode())
        return given
    settings = _read()
    option = f"--{name.replace('_', '-')}"
    if name not in settings:
        raise LookupError(f"{option} is missing: give it once, e.g. {option} {EXAMPLES[name]}; later commands remember it")
    say(f"{option} {settings[name]}, from {settings_file()}")
    return settings[name]


def _read() -> dict[str, str]:
    try:
        settings = read_json(settings_file(), MAX_BYTES)
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ValueError(f"{settings_file()} cannot be read ({error}): mend or delete it") from None
    if not isinstance(settings, dict) or not all(isinstance(value, str) for value in settings.values()):
        raise ValueError(f'{settings_file()} must be like {{"results_repo": "ORG/vddbench-results"}}: mend or delete it')
    return settings
