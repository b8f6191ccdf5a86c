"""Calls the Hub: retries while it is busy, and turns failures into sentences that say what to do."""

from __future__ import annotations

import contextlib
import os
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import TypeVar

from huggingface_hub import HfApi, get_session, get_token
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils.tqdm import disable_progress_bars

from vddbench.hub.repo import Repo, endpoint
from vddbench.system.progress import say

T = TypeVar("T")
HTTPError: type[Exception] = HfHubHTTPError.__mro__[1]  # base class of the HTTP library's errors, including lost connections
TOKEN_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
TRIES = 8
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 1.0, 60.0  # 1, 2, 4, ... each times a random 0.5 to 1.5
LONGEST_ASKED_SECONDS = 300.0  # longest wait that the Hub may ask for; it counts requests in windows of 5 minutes
LONGEST_SILENCE_SECONDS = 300.0  # before a call is tried again; the Hub checks a large commit before it answers
BUSY = {408, 409, 425, 429, 500, 502, 503, 504}  # 409: somebody else is committing


@cache
def _api(where: str) -> HfApi:
    disable_progress_bars()  # vddbench draws its own
    return HfApi(endpoint=where, library_name="vddbench")


def api() -> HfApi:
    """The client. Raises PermissionError for a token with characters that no token has, such as quotes around it."""
    token = get_token() or ""
    if wrong := re.search(r"[^!-~]|[\"'`]", token):
        named = next((name for name in TOKEN_VARIABLES if os.environ.get(name)), "the token saved by `hf auth login`")
        raise PermissionError(
            f"{named} holds the character {wrong[0]!a} (U+{ord(wrong[0]):04X}), which no token has: paste it again, without "
            "quotes or spaces"
        )
    get_session().timeout = LONGEST_SILENCE_SECONDS  # it has none; set at each call, as the client may make a new session
    return _api(endpoint())


@contextlib.contextmanager
def explained(repo: Repo | None = None) -> Iterator[None]:
    """Raises a failure of the Hub as one sentence that says what to do: OSError, LookupError for an invalid repo name."""
    name = str(repo) if repo else "the Hub"
    try:
        yield
    except OfflineModeIsEnabled:
        raise ConnectionError(f"HF_HUB_OFFLINE is set, so {endpoint()} is not asked; unset it if there is a network") from None
    except LocalTokenNotFoundError:
        raise PermissionError("you are not logged in to the Hub: `hf auth login`, or set HF_TOKEN") from None
    except HFValidationError as error:
        raise LookupError(f"{name}: {str(error)[:200]}; a repo is called OWNER/NAME") from None
    except GatedRepoError:
        raise PermissionError(f"{name} is gated: ask for access on {repo.url if repo else endpoint()}") from None
    except RepositoryNotFoundError:
        raise FileNotFoundError(
            f"no {name} on {endpoint()}, or it is private and you may not see it: check its name, and your user with `hf auth "
            "whoami`; `hf auth login` or HF_TOKEN sign in"
        ) from None
    except RevisionNotFoundError:
        raise FileNotFoundError(f"{name} has no such revision; a pull request is refs/pr/N, a commit 40 hex digits") from None
    except EntryNotFoundError as error:
        raise FileNotFoundError(f"{name} has no such file: {str(error).splitlines()[-1][:200]}") from None
    except HfHubHTTPError as error:
        raise _of_status(error, name) from None
    except HTTPError as error:
        raise ConnectionError(f"{endpoint()} can't be reached ({type(error).__name__}); try again, nothing is lost") from None


def _of_status(error: HfHubHTTPError, name: str) -> OSError:
    status = error.response.status_code
    if status == 401:
        return PermissionError("the Hub does not know this token: log in with `hf auth login`, or set HF_TOKEN to a valid one")
    if status == 403 and error.response.request.method in {"GET", "HEAD"}:
        return PermissionError(f"you may not read {name}: ask its owner for access, and check your user with `hf auth whoami`")
    if status == 403 and "create_pr=" in str(error.response.request.url):
        return PermissionError(
            f"your token may not open pull requests on {name}: make one with the permission to write on {endpoint()}/settings/"
            "tokens; if it has that, the repo does not take pull requests: ask its owner"
        )
    if status == 403:
        return PermissionError(
            f"you may not write to {name}: ask its owner; records are proposed with `vddbench submit`, which needs no write "
            "access to the results repo"
        )
    if status in BUSY:
        return ConnectionError(f"the Hub is busy ({status}) and stayed so over {TRIES} tries; run the same command again later")
    reason = (error.server_message or str(error).splitlines()[0])[:300]
    return OSError(f"the Hub refused a request on {name} ({status}): {reason}")


@contextlib.contextmanager
def _unwrapped() -> Iterator[None]:
    """Raises the cause of a failed upload of a large file, which the client wraps in a RuntimeError."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error.__cause__, HTTPError):
            raise error.__cause__ from None
        raise


def patiently(call: Callable[[], T], done: Callable[[], T | None] = lambda: None) -> T:
    """Calls `call()`, again after a growing wait while the Hub is busy or the connection breaks.

    Before each new try `done()` checks whether the last one took effect and only its answer was lost; if it returns a value,
    that is the result.
    """
    wait = FIRST_WAIT_SECONDS
    for left in reversed(range(TRIES)):
        try:
            with _unwrapped():
                return call()
        except OfflineModeIsEnabled:
            raise
        except HTTPError as error:
            response = error.response if isinstance(error, HfHubHTTPError) else None
            if (response is not None and response.status_code not in BUSY) or not left:
                raise
            asked = _asked_seconds(response.headers) if response is not None else 0.0
            pause = max(min(LONGEST_WAIT_SECONDS, wait * random.uniform(0.5, 1.5)), min(LONGEST_ASKED_SECONDS, asked))
            why = f"{response.status_code}" if response is not None else type(error).__name__
            say(f"the Hub did not answer ({why}); trying again in {pause:.0f} s")
            time.sleep(pause)
            wait *= 2
        with contextlib.suppress(HTTPError):
            if (result := done()) is not None:
                return result
    raise AssertionError("the last try returns or raises")


def _asked_seconds(headers: Mapping[str, str]) -> float:
    """Seconds that the Hub asks to wait: `Retry-After: 55`, or `RateLimit: "api";r=0;t=55` if no request is left for 55 s."""
    spent = re.search(r";\s*r=0;\s*t=(\d{1,9})", headers.get("RateLimit", ""))
    asked = headers.get("Retry-After", "")
    return float(asked if re.fullmatch(r"[0-9]{1,9}", asked) else spent[1] if spent else 0)


def whoami() -> str:
    """The user's name. Raises PermissionError without a valid token."""
    with explained():
        return str(patiently(api().whoami)["name"])
