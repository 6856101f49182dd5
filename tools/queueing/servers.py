"""The servers that were named, and what they have."""

from __future__ import annotations

import http.client
import sys
import urllib.error
from collections.abc import Sequence
from http import HTTPStatus
from urllib.parse import urlsplit

from comfy_client import ComfyClient

from .definitions import ObjectInfo
from .errors import QueueingError

EXAMPLE = "127.0.0.1:8188"


def address(text: str) -> str:
    """A server's address from what the user wrote: "gpu:8188" is http://gpu:8188."""
    found = (text if "://" in text else f"http://{text}").rstrip("/")
    if not _is_address(found):
        raise QueueingError(f"'{text}' is no address of a server. --server takes HOST:PORT, such as {EXAMPLE}.")
    return found


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        host = (parts.hostname or "").encode("idna")
        return bool(host) and parts.scheme in ("http", "https") and parts.port != 0
    except ValueError:  # of a port that is no number, or a name that no computer can have
        return False


def reachable(addresses: Sequence[str]) -> dict[str, ObjectInfo]:
    """The nodes of each server that answers, by address. Those that do not are named on stderr, if any does."""
    found: dict[str, ObjectInfo] = {}
    away: list[str] = []
    for each in dict.fromkeys(addresses):
        client = ComfyClient(each)
        try:
            found[each] = client.object_info()
        except urllib.error.HTTPError as error:
            away.append(f"{client.url} answers '{error.code} {error.reason}'.{_advice(error.code)}")
        except (OSError, http.client.HTTPException) as error:
            away.append(f"{client.url} does not answer ({getattr(error, 'reason', error)}).")
        except ValueError:
            away.append(f"{client.url} answers, but not as ComfyUI does.")
    if not found:
        raise QueueingError(f"{' '.join(away)} Start ComfyUI, or name its address with --server.")
    for sentence in away:
        print(f"warning: {sentence}", file=sys.stderr)
    return found


def _advice(status: int) -> str:
    """A sentence, with a space before it, for who is not let in."""
    return " Name it as USER:PASSWORD@HOST:PORT." if status == HTTPStatus.UNAUTHORIZED else ""
