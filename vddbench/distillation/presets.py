"""Which settings a baseline runs with: those of a preset, those published for the task, or the defaults of its Config."""

from __future__ import annotations

from dataclasses import is_dataclass
from typing import Any

from vddbench.distillation.contract import BaselineModule, IterativeBaselineModule, IterativeConfig
from vddbench.lookup import missing_parts, unknown
from vddbench.spec import Task

PUBLISHED = "miniucf-ipc1"  # the defaults of every Config are the published settings for this task


def is_published(baseline: BaselineModule | IterativeBaselineModule, task: Task) -> bool:
    """Whether the file has settings published for this very task, or has no settings that depend on the task."""
    return not isinstance(baseline, IterativeBaselineModule) or str(task) in {PUBLISHED, *getattr(baseline, "CONFIGS", {})}


def config_for(baseline: BaselineModule | IterativeBaselineModule, method: str, task: Task, preset: str | None) -> Any:
    """The settings of the preset, else those published for the task, else the method's own.

    Raises LookupError for an unknown preset, ValueError if the file's Config is not what the contract demands.
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
    return config


def decoder_of(baseline: BaselineModule | IterativeBaselineModule, config: Any) -> str:
    """The decoder of a payload made with this Config: its property `decoder` if it has one, else the file's DECODER."""
    return str(getattr(config, "decoder", baseline.DECODER))
