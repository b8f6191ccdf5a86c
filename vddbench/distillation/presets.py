"""Which settings a baseline runs with: those of a preset, those published for the task, or the defaults of its Config."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from vddbench.distillation.contract import BaselineModule, IterativeBaselineModule, IterativeConfig
from vddbench.lookup import missing_parts, unknown
from vddbench.spec import Task

PUBLISHED = "miniucf-ipc1"  # the defaults of every Config are the published settings for this task


def is_published(baseline: BaselineModule | IterativeBaselineModule, task: Task) -> bool:
    """Whether the file has settings published for this very task, or has no settings that depend on the task."""
    return not isinstance(baseline, IterativeBaselineModule) or str(task) in {PUBLISHED, *getattr(baseline, "CONFIGS", {})}


def config_for(baseline: BaselineModule | IterativeBaselineModule, method: str, task: Task, preset: str | None) -> Any:
    """The settings of the preset, else those published for the task, else the method's own.

    Raises LookupError for an unknown preset, ValueError if the file's Config is not what the contract demands or if a setting
    is not of its field's type.
    """
    iterative = isinstance(baseline, IterativeBaselineModule)
    if preset is not None:
        presets: dict[str, Any] = getattr(baseline, "PRESETS", {})
        if preset not in presets:
            raise LookupError(unknown(f"preset of {method}", preset, sorted(presets)))
        config = presets[preset]
    else:
        published: dict[str, Any] = getattr(baseline, "CONFIGS", {})
        config = published.get(str(task), baseline.Config())
    if not is_dataclass(config):
        raise ValueError(f"the Config of baseline {method} is not a dataclass; make it one, with @dataclass(frozen=True)")
    if iterative and missing_parts(config, IterativeConfig):
        raise ValueError(f"the Config of baseline {method} has no field `iterations`, the number of steps; add it")
    settings = f"settings of {method}{f', preset {preset}' if preset else ''}"
    check_types(config, settings)
    if iterative and (iterations := getattr(config, "iterations", 0)) < 1:
        raise ValueError(f"{settings}: iterations is {iterations}; allowed: 1 or more")
    return config


def check_types(config: Any, settings: str) -> None:
    """Raises ValueError, which begins with the text `settings`, if a field of a Config is not of the type that it states."""
    hints = get_type_hints(type(config))
    for field in fields(config):
        try:
            TypeAdapter(hints[field.name]).validate_python(value := getattr(config, field.name), strict=True)
        except ValidationError as error:
            raise ValueError(f"{settings}: {field.name} is {repr(value)[:40]}; {error.errors()[0]['msg']}") from None


def decoder_of(baseline: BaselineModule | IterativeBaselineModule, config: Any) -> str:
    """The decoder of a payload made with this Config: its property `decoder` if it has one, else the file's DECODER."""
    return str(getattr(config, "decoder", baseline.DECODER))
