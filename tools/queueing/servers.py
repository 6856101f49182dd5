"""Finds the servers named on the command line and reads their node definitions."""

from __future__ import annotations

import http.client
import sys
import urllib.error
from collections.abc import Sequence
from http import HTTPStatus
from urllib.parse import urlsplit

from comfy_client import ComfyClient, printable

from .definitions import ObjectInfo
from .errors import QueueingError

EXAMPLE = "127.0.0.1:8188"


def address(text: str) -> str:
    """A server address from what the user wrote: "gpu:8188" becomes http://gpu:8188."""
    found = (text if "://" in text else f"http://{text}").rstrip("/")
    if not _is_address(found):
        raise QueueingError(f"'{text}' is not a server address. Write --server as HOST:PORT, for example {EXAMPLE}.")
    return found


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        host = (parts.hostname or "").encode("idna")
        return bool(host) and parts.scheme in ("http", "https") and parts.port != 0
    except ValueError:  # the port is not a number, or the host name is invalid
        return False


def reachable(addresses: Sequence[str]) -> dict[str, ObjectInfo]:
    """The node definitions of each server that answers, by address. Warns on stderr about servers that do not."""
    found: dict[str, ObjectInfo] = {}
    problems: list[str] = []
    for each in dict.fromkeys(addresses):
        client = ComfyClient(each)
        try:
            found[each] = client.object_info()
        except urllib.error.HTTPError as error:
            problems.append(f"{client.url} answered '{error.code} {error.reason}'.{_advice(error.code)}")
        except (OSError, http.client.HTTPException) as error:
            problems.append(f"{client.url} does not answer ({getattr(error, 'reason', error)}).")
        except ValueError:
            problems.append(f"{client.url} answered, but it is not ComfyUI.")
    if not found:
        raise QueueingError(f"{' '.join(problems)} Start ComfyUI, or pass its address with --server.")
    for sentence in problems:
        print(f"warning: {printable(sentence)}", file=sys.stderr)
    return found


def _advice(status: int) -> str:
    """A sentence, after a space, for a server that asks for a password."""
    return " Write its address as USER:PASSWORD@HOST:PORT." if status == HTTPStatus.UNAUTHORIZED else ""
