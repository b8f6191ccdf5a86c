"""Turns raw videos into a prepared store: finds the dataset's videos in the given source, then builds the store (build.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from vddbench import lookup
from vddbench.data.build import Prepared, build_store, check_name
from vddbench.data.listing import with_validation
from vddbench.data.sources.folder import read_folder
from vddbench.data.sources.frames import in_frames, of_frames
from vddbench.data.sources.source import check_builtin_options, check_folder, of_formats


def prepare(
    name: str,
    *,
    raw: Path | None = None,
    folder: Path | None = None,
    frames_dir: Path | None = None,
    hub: str | None = None,
    frames: int | None = None,
    size: int | None = None,
    stride: int | Literal["even"] | None = None,
    classes: list[str] | None = None,
    student_steps: int | None = None,
    workers: int | None = None,
    force: bool = False,
) -> Prepared:
    """Prepares a built-in dataset from `raw`, `frames_dir` or `hub`, or your own videos from `folder` or `hub`.

    raw: the distributor's files. folder: `DIR/{train,test}/<class>/<clip>`. hub: `OWNER/REPO[@revision]`. frames, size, stride,
    classes, student_steps: of your own videos, None for the defaults of `read_folder`. workers: processes, None for all cores.
    force: replace an existing store. Raises LookupError, ValueError, FileNotFoundError, OSError.
    """
    options: dict[str, Any] = {"frames": frames, "size": size, "stride": stride}
    options |= {"classes": classes, "student_steps": student_steps}
    chosen = {option: value for option, value in options.items() if value is not None}
    if hub is not None:
        from vddbench.data.sources.hub.prepared import prepare_hub

        if folder is not None or frames_dir is not None:
            raise ValueError("--hub names the place of the videos: leave out --folder and --frames-dir")
        return prepare_hub(name, hub, raw, chosen, workers, force)
    if folder is not None:
        check_name(name)
        if raw is not None or frames_dir is not None:
            raise ValueError("--raw and --frames-dir are for built-in datasets, --folder for your own videos: give one of them")
        if name in lookup.names("dataset"):
            raise ValueError(f"{name} is a built-in dataset; prepare your folder under another name")
        spec, listed = read_folder(folder, **chosen)
        return build_store(name, spec, listed, workers=workers, force=force)
    check_builtin_options(chosen)
    if frames_dir is not None:
        return prepare_frames(name, frames_dir, raw, workers, force)
    return prepare_builtin(name, raw, workers, force)


def prepare_builtin(name: str, raw: Path | None, workers: int | None, force: bool) -> Prepared:
    """Prepares a dataset of vddbench/data/datasets/ from its distributor's files."""
    module = lookup.load("dataset", name)
    render = getattr(module, "render", None)
    if render is None and raw is None:
        raise ValueError(f"{name} needs --raw DIR, the folder with its videos as distributed ({module.SPEC.source})")
    check_folder("--raw", raw)
    folder = raw or Path()
    videos = list(module.videos(folder))
    unlisted = module.unlisted(folder) if hasattr(module, "unlisted") else ()
    spec = of_formats(with_validation(module.SPEC, videos), videos, getattr(module, "SUFFIX", ""))
    return build_store(name, spec, videos, unlisted=unlisted, render=render, workers=workers, force=force)


def prepare_frames(name: str, frames_dir: Path, raw: Path | None, workers: int | None, force: bool) -> Prepared:
    """Prepares a dataset of vddbench/data/datasets/ from extracted frames. raw: the folder with the distributor's lists."""
    module = lookup.load("dataset", name)
    if not hasattr(module, "listing"):
        raise ValueError(f"{name} is generated; leave out --frames-dir")
    check_folder("--frames-dir", frames_dir)
    check_folder("--raw", raw)
    listed = list(module.listing(raw))
    spec = of_frames(with_validation(module.SPEC, listed))
    return build_store(
        name, spec, in_frames(listed, frames_dir, getattr(module, "short_name", None)), workers=workers, force=force
    )
