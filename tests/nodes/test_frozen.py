"""Saved workflows keep working: node ids, the order of inputs and outputs, and combo values never change.

`frozen.json` holds the released interface. Lists may only grow at their end. Record additions with

    .host/venv/bin/python tests/nodes/test_frozen.py

A node id may be removed only if `nodes/renamed.py` maps it, with all inputs and outputs, to the node that replaces it.
The file keeps its old entry.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from dreamsampler.nodes.host import Replacement

FROZEN = Path(__file__).with_name("frozen.json")
HOST_LISTS = {"scheduler", "name", "file", "folder", "translation"}
"""Inputs whose options come from ComfyUI or from files."""
WIDGETS = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}
PAGE_WIDGETS = {"control_after_generate", "upload"}
"""Extra widgets that the page adds, whose values workflows store too."""


def current_interface() -> dict[str, Any]:
    """All nodes, by what saved workflows depend on."""
    from dreamsampler import comfy_entrypoint

    async def registered() -> list[Any]:
        return await (await comfy_entrypoint()).get_node_list()

    return {
        schema.node_id: _interface(schema) for schema in (node.define_schema() for node in asyncio.run(registered()))
    }


def _interface(schema: Any) -> dict[str, Any]:
    choices = {
        each.id: list(each.options)
        for each in schema.inputs
        if getattr(each, "options", None) and each.id not in HOST_LISTS
    }
    return {
        "inputs": [f"{each.id} {each.get_io_type()}" for each in schema.inputs],
        "outputs": [f"{each.display_name} {each.get_io_type()}" for each in schema.outputs],
        "choices": choices,
    }


def renamed() -> Sequence[Replacement]:
    from dreamsampler.nodes.renamed import RENAMED

    return RENAMED


def frozen_now() -> dict[str, Any]:
    """The expected content of the file: all nodes, and the old entries of replaced nodes."""
    before = json.loads(FROZEN.read_text("utf-8"))
    return {each.old: before[each.old] for each in renamed() if each.old in before} | current_interface()


def changes(frozen: dict[str, Any], now: dict[str, Any], renamed: Sequence[Replacement] = ()) -> list[str]:
    """Incompatible changes, one line each."""
    replaced = {each.old: each for each in renamed}
    found = [f"{node} is gone" for node in frozen if node not in now and node not in replaced]
    found += [f"{node} is renamed but still exists" for node in replaced if node in now]
    found += [f"{node} is renamed but was never released" for node in replaced if node not in frozen]
    for node in frozen.keys() & replaced.keys():
        found += misfits(replaced[node], frozen[node], now)
    for node in frozen.keys() & now.keys():
        for kind in ("inputs", "outputs"):
            before, after = frozen[node][kind], now[node][kind]
            found += [f"{node}: {kind} were {before}, are {after}"] if after[: len(before)] != before else []
        found += lost_choices(node, frozen[node], now[node], {name: name for name in frozen[node]["choices"]})
    return found


def lost_choices(node: str, before: dict[str, Any], after: dict[str, Any], names: Mapping[str, str]) -> list[str]:
    """Options that an input no longer offers under its new name."""
    found = []
    for name, options in before["choices"].items():
        gone = set(options) - set(after["choices"].get(names.get(name), []))
        found += [f"{node}.{name} no longer offers {sorted(gone)}"] if gone else []
    return found


def misfits(replacement: Replacement, before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What workflows with a renamed node would lose, one line each."""
    old, new = replacement.old, replacement.new
    if new not in now:
        return [f"{old} is replaced by {new}, which does not exist"]
    inputs, new_inputs = ({name: kind for name, kind in slots(node, "inputs")} for node in (before, now[new]))
    outputs, new_outputs = (dict(enumerate(kind for _, kind in slots(node, "outputs"))) for node in (before, now[new]))
    widgets = [name for name, kind in inputs.items() if kind in WIDGETS]
    found = unmapped(f"{old}: input", inputs, new_inputs, replacement.inputs)
    found += unmapped(f"{old}: output", outputs, new_outputs, replacement.outputs)
    found += [f"{new} has no input {name}" for name in replacement.values if name not in new_inputs]
    if widgets != [name for name in replacement.widgets if name not in PAGE_WIDGETS]:
        found.append(f"{old} had the widgets {widgets}")
    return found + lost_choices(old, before, now[new], replacement.inputs)


def slots(node: dict[str, Any], side: str) -> list[list[str]]:
    """The names and types of inputs or outputs."""
    return [each.rsplit(" ", 1) for each in node[side]]


def unmapped(what: str, before: Mapping[Any, str], after: Mapping[Any, str], mapping: Mapping[Any, Any]) -> list[str]:
    """Slots that are not mapped to a slot of the same type, and mapped slots that never existed."""
    found = [f"{what} {each} is not mapped" for each in before if after.get(mapping.get(each)) != before[each]]
    return found + [f"{what} {each} never existed" for each in mapping if each not in before]


def test_saved_workflows_keep_working():
    assert changes(json.loads(FROZEN.read_text("utf-8")), current_interface(), renamed()) == []


def test_frozen_file_is_complete():
    assert json.loads(FROZEN.read_text("utf-8")) == frozen_now()


def test_incompatible_changes_are_found():
    frozen = {"DSA": {"inputs": ["a INT", "b INT"], "outputs": [], "choices": {"c": ["x", "y"]}}, "DSB": {}}
    now = {"DSA": {"inputs": ["b INT", "a INT"], "outputs": ["o SVG"], "choices": {"c": ["y", "z"]}}}
    assert len(changes(frozen, now)) == 3


def test_renamed_node_must_map_all_slots():
    from dreamsampler.nodes.host import Replacement

    old = {"inputs": ["m MODEL", "a INT", "c COMBO"], "outputs": ["o SVG", "p MASK"], "choices": {"c": ["x", "y"]}}
    new = {"inputs": ["c2 COMBO", "a INT", "m MODEL"], "outputs": ["p MASK", "o SVG"], "choices": {"c2": ["y", "x"]}}
    right: dict[str, Any] = {"old": "DSA", "new": "DSB", "widgets": ["a", "control_after_generate", "c"]}
    right |= {"inputs": {"m": "m", "a": "a", "c": "c2"}, "outputs": {0: 1, 1: 0}}

    def found(**others: Any) -> list[str]:
        now = {"DSB": {**new, **others.pop("changed", {})}} | others.pop("also", {})
        return changes({"DSA": old, "DSB": new}, now, [Replacement(**{**right, **others})])

    assert found() == []
    assert found(new="DSC") == ["DSA is replaced by DSC, which does not exist"]
    assert found(also={"DSA": old}) == ["DSA is renamed but still exists"]
    assert found(old="DSD") == ["DSA is gone", "DSD is renamed but was never released"]
    assert found(inputs={"m": "m", "c": "c2"}) == ["DSA: input a is not mapped"]
    assert found(inputs={**right["inputs"], "m": "a"}) == ["DSA: input m is not mapped"]
    assert found(inputs={**right["inputs"], "z": "a"}) == ["DSA: input z never existed"]
    assert found(values={"z": 1}) == ["DSB has no input z"]
    assert found(widgets=["c", "a"]) == ["DSA had the widgets ['a', 'c']"]
    assert found(outputs={0: 1}) == ["DSA: output 1 is not mapped"]
    assert found(outputs={0: 0, 1: 1}) == ["DSA: output 0 is not mapped", "DSA: output 1 is not mapped"]
    assert "DSA.c no longer offers ['y']" in found(changed={"choices": {"c2": ["x"]}})


def test_replacement_is_declared_like_comfyui_expects():
    from dreamsampler.nodes.host import Replacement

    made = Replacement("DSA", "DSB", {"a": "b"}, ["a"], {"c": 3}, {1: 0})
    assert made.declared() == {
        "old_node_id": "DSA",
        "new_node_id": "DSB",
        "old_widget_ids": ["a"],
        "input_mapping": [{"old_id": "a", "new_id": "b"}, {"new_id": "c", "set_value": 3}],
        "output_mapping": [{"old_idx": 1, "new_idx": 0}],
    }


def test_replacements_are_registered_where_comfyui_supports_them(monkeypatch: pytest.MonkeyPatch):
    from comfy_api.latest import io
    from dreamsampler import comfy_entrypoint
    from dreamsampler.nodes.host import Replacement, register_replacements

    async def load() -> None:
        await (await comfy_entrypoint()).on_load()
        await register_replacements([Replacement("DSGone", "ImageInvert", {"picture": "image"})])

    if not hasattr(io, "NodeReplace"):  # older ComfyUI reports a removed id as a missing node
        assert asyncio.run(load()) is None
        return
    server, manager = import_module("server"), import_module("app.node_replace_manager").NodeReplaceManager()
    running = SimpleNamespace(node_replace_manager=manager)
    monkeypatch.setattr(server.PromptServer, "instance", running, raising=False)
    asyncio.run(load())
    prompt = {"2": {"class_type": "DSGone", "inputs": {"picture": ["1", 0]}, "_meta": {}}}
    manager.apply_replacements(prompt)
    assert prompt == {"2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}, "_meta": {}}}


if __name__ == "__main__":
    sys.path.insert(0, str(FROZEN.parents[1]))
    import conftest  # noqa: F401

    FROZEN.write_text(json.dumps(frozen_now(), indent=1) + "\n", "utf-8")
