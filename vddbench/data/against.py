"""Is a prepared store that of a record, a manifest, or another lab's store? `vddbench datasets verify NAME --against FILE`."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel, ValidationError

from vddbench.data.fingerprint import NEAR, distance
from vddbench.data.store import Store
from vddbench.records.files import MAX_JSON_BYTES
from vddbench.spec import Fingerprint, Sha256


class Named(BaseModel):
    """What a record and a manifest, or a store's done.json, say of the prepared store they are of."""

    store_digest: Sha256 | None = None
    store_fingerprint: Fingerprint | None = None
    digest: Sha256 | None = None
    fingerprint: Fingerprint | None = None


def against(store: Store, path: Path) -> str:
    """How the file's store and this one agree. Raises ValueError when they don't, or the file names no store;
    FileNotFoundError."""
    named = read(path)
    digest, other = named.store_digest or named.digest, named.store_fingerprint or named.fingerprint
    if digest is None:
        raise ValueError(f"{path} names no prepared store; give a record, a manifest.json or another store's done.json")
    if digest == store.digest:
        return f"{store.name} and the store of {path} are the same, byte for byte"
    if store.fingerprint is None or other is None:
        which = path if other is None else store.path
        raise ValueError(f"{store.name} has other bytes than the store of {path}, and {which} has no fingerprint to tell why")
    apart = distance(store.fingerprint, other)
    if apart <= NEAR:
        return (
            f"{store.name} and the store of {path} have other bytes of the same videos, {apart:.2f} grey levels apart (up to "
            f"{NEAR} versions of FFmpeg differ): records of both can share tables"
        )
    why = (
        "other videos, labels, groups, numbers of frames or another spec"
        if apart == float("inf")
        else (
            f"the same list of videos with other frames, {apart:.2f} grey levels apart (at most {NEAR} is a decoder's version)"
        )
    )
    raise ValueError(f"{store.name} is not the store of {path}: {why}; records of both can't share tables")


def read(path: Path) -> Named:
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}; give a record, a manifest.json or another store's done.json")
    if path.stat().st_size > MAX_JSON_BYTES:
        raise ValueError(f"{path} is over {MAX_JSON_BYTES:,} bytes: no record, manifest or done.json")
    try:
        return Named.model_validate(json.loads(path.read_bytes()))
    except (ValidationError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no record, manifest or done.json: {str(error).splitlines()[0][:200]}") from None
