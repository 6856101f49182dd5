"""The servers that were named, and what they have."""

from __future__ import annotations

import http.client
import sys
from collections.abc import Sequence

from comfy_client import ComfyClient

from .definitions import ObjectInfo
from .errors import QueueingError


def address(text: str) -> str:
    """A server's address from what the user wrote: "gpu:8188" is http://gpu:8188."""
    return (text if "://" in text else f"http://{text}").rstrip("/")


def reachable(urls: Sequence[str]) -> dict[str, ObjectInfo]:
    """The nodes of each server that answers, by address. Those that do not are named on stderr, if any does."""
    found: dict[str, ObjectInfo] = {}
    away: list[str] = []
    for url in dict.fromkeys(urls):
        try:
            found[url] = ComfyClient(url).object_info()
        except (OSError, http.client.HTTPException) as error:
            away.append(f"{url} does not answer ({getattr(error, 'reason', error)}).")
        except ValueError:
            away.append(f"{url} answers, but not as ComfyUI does.")
    if not found:
        raise QueueingError(f"{' '.join(away)} Start ComfyUI, or name its address with --server.")
    for sentence in away:
        print(f"warning: {sentence}", file=sys.stderr)
    return found
