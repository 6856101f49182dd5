"""What saved workflows rely on never changes: node ids, the order of inputs and outputs, and the words of choices.

`frozen.json` holds what was published. More may follow at the end of a list, and is added to the file with

    .host/venv/bin/python tests/nodes/test_frozen.py
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

FROZEN = Path(__file__).with_name("frozen.json")
OF_THE_HOST = {"scheduler", "name", "file"}
"""Choices that are the host's lists, not ours."""


def published() -> dict[str, Any]:
    """All nodes as saved workflows know them."""
    from dreamsampler_pack import comfy_entrypoint

    async def registered() -> list[Any]:
        return await (await comfy_entrypoint()).get_node_list()

    return {schema.node_id: _of(schema) for schema in (node.define_schema() for node in asyncio.run(registered()))}


def _of(schema: Any) -> dict[str, Any]:
    choices = {
        each.id: list(each.options)
        for each in schema.inputs
        if getattr(each, "options", None) and each.id not in OF_THE_HOST
    }
    return {
        "inputs": [f"{each.id} {each.get_io_type()}" for each in schema.inputs],
        "outputs": [f"{each.display_name} {each.get_io_type()}" for each in schema.outputs],
        "choices": choices,
    }


def changes(frozen: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What of the frozen is no longer so, a line each."""
    found = [f"{node} is gone" for node in frozen if node not in now]
    for node in frozen.keys() & now.keys():
        for kind in ("inputs", "outputs"):
            before, after = frozen[node][kind], now[node][kind]
            found += [f"{node}: {kind} were {before}, are {after}"] if after[: len(before)] != before else []
        for name, words in frozen[node]["choices"].items():
            gone = set(words) - set(now[node]["choices"].get(name, []))
            found += [f"{node}.{name} no longer offers {sorted(gone)}"] if gone else []
    return found


def test_saved_workflows_go_on_working():
    assert changes(json.loads(FROZEN.read_text("utf-8")), published()) == []


def test_everything_there_is_is_frozen():
    assert json.loads(FROZEN.read_text("utf-8")) == published()


def test_changes_are_noticed():
    frozen = {"DSA": {"inputs": ["a INT", "b INT"], "outputs": [], "choices": {"c": ["x", "y"]}}, "DSB": {}}
    now = {"DSA": {"inputs": ["b INT", "a INT"], "outputs": ["o SVG"], "choices": {"c": ["y", "z"]}}}
    assert len(changes(frozen, now)) == 3


if __name__ == "__main__":
    sys.path.insert(0, str(FROZEN.parents[1]))
    import conftest  # noqa: F401

    FROZEN.write_text(json.dumps(published(), indent=1) + "\n", "utf-8")
