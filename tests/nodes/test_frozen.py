"""What saved workflows rely on never changes: node ids, the order of inputs and outputs, and the words of choices.

`frozen.json` holds what was published. More may follow at the end of a list, and is added to the file with

    .host/venv/bin/python tests/nodes/test_frozen.py

An id may go only if `nodes/renamed.py` says which node has taken its place, and what became of all its inputs and
outputs; the file keeps what it was.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from dreamsampler.nodes.host import Replacement

FROZEN = Path(__file__).with_name("frozen.json")
OF_THE_HOST = {"scheduler", "name", "file", "translation"}
"""Choices that are the host's lists, not ours."""
WIDGETS = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}
OF_THE_PAGE = {"control_after_generate", "upload"}
"""Values that workflows hold after those of inputs."""


def published() -> dict[str, Any]:
    """All nodes as saved workflows know them."""
    from dreamsampler import comfy_entrypoint

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


def renamed() -> Sequence[Replacement]:
    from dreamsampler.nodes.renamed import RENAMED

    return RENAMED


def frozen_now() -> dict[str, Any]:
    """What the file has to hold: all nodes, and those that are replaced as they were."""
    before = json.loads(FROZEN.read_text("utf-8"))
    return {each.old: before[each.old] for each in renamed() if each.old in before} | published()


def changes(frozen: dict[str, Any], now: dict[str, Any], renamed: Sequence[Replacement] = ()) -> list[str]:
    """What of the frozen is no longer so, a line each."""
    replaced = {each.old: each for each in renamed}
    found = [f"{node} is gone" for node in frozen if node not in now and node not in replaced]
    found += [f"{node} is renamed and still there" for node in replaced if node in now]
    found += [f"{node} is renamed and was never published" for node in replaced if node not in frozen]
    for node in frozen.keys() & replaced.keys():
        found += misfits(replaced[node], frozen[node], now)
    for node in frozen.keys() & now.keys():
        for kind in ("inputs", "outputs"):
            before, after = frozen[node][kind], now[node][kind]
            found += [f"{node}: {kind} were {before}, are {after}"] if after[: len(before)] != before else []
        found += lost_choices(node, frozen[node], now[node], {name: name for name in frozen[node]["choices"]})
    return found


def lost_choices(node: str, before: dict[str, Any], after: dict[str, Any], names: Mapping[str, str]) -> list[str]:
    """Words that an input offered and does not offer by its new name."""
    found = []
    for name, words in before["choices"].items():
        gone = set(words) - set(after["choices"].get(names.get(name), []))
        found += [f"{node}.{name} no longer offers {sorted(gone)}"] if gone else []
    return found


def misfits(replacement: Replacement, before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What workflows with a renamed node would lose, a line each."""
    old, new = replacement.old, replacement.new
    if new not in now:
        return [f"{old} is replaced by {new}, which is not there"]
    inputs, new_inputs = ({name: kind for name, kind in slots(node, "inputs")} for node in (before, now[new]))
    outputs, new_outputs = (dict(enumerate(kind for _, kind in slots(node, "outputs"))) for node in (before, now[new]))
    widgets = [name for name, kind in inputs.items() if kind in WIDGETS]
    found = misplaced(f"{old}: input", inputs, new_inputs, replacement.inputs)
    found += misplaced(f"{old}: output", outputs, new_outputs, replacement.outputs)
    found += [f"{new} has no input {name}" for name in replacement.values if name not in new_inputs]
    if widgets != [name for name in replacement.widgets if name not in OF_THE_PAGE]:
        found.append(f"{old} had the widgets {widgets}")
    return found + lost_choices(old, before, now[new], replacement.inputs)


def slots(node: dict[str, Any], side: str) -> list[list[str]]:
    """Names and types."""
    return [each.rsplit(" ", 1) for each in node[side]]


def misplaced(what: str, before: Mapping[Any, str], after: Mapping[Any, str], places: Mapping[Any, Any]) -> list[str]:
    """What has no place of its own type, and what has one without having been there."""
    found = [f"{what} {each} has no place" for each in before if after.get(places.get(each)) != before[each]]
    return found + [f"{what} {each} was never there" for each in places if each not in before]


def test_saved_workflows_go_on_working():
    assert changes(json.loads(FROZEN.read_text("utf-8")), published(), renamed()) == []


def test_everything_there_is_is_frozen():
    assert json.loads(FROZEN.read_text("utf-8")) == frozen_now()


def test_changes_are_noticed():
    frozen = {"DSA": {"inputs": ["a INT", "b INT"], "outputs": [], "choices": {"c": ["x", "y"]}}, "DSB": {}}
    now = {"DSA": {"inputs": ["b INT", "a INT"], "outputs": ["o SVG"], "choices": {"c": ["y", "z"]}}}
    assert len(changes(frozen, now)) == 3


def test_a_renamed_node_needs_a_place_for_all_it_had():
    from dreamsampler.nodes.host import Replacement

    old = {"inputs": ["m MODEL", "a INT", "c COMBO"], "outputs": ["o SVG", "p MASK"], "choices": {"c": ["x", "y"]}}
    new = {"inputs": ["c2 COMBO", "a INT", "m MODEL"], "outputs": ["p MASK", "o SVG"], "choices": {"c2": ["y", "x"]}}
    right: dict[str, Any] = {"old": "DSA", "new": "DSB", "widgets": ["a", "control_after_generate", "c"]}
    right |= {"inputs": {"m": "m", "a": "a", "c": "c2"}, "outputs": {0: 1, 1: 0}}

    def found(**others: Any) -> list[str]:
        now = {"DSB": {**new, **others.pop("changed", {})}} | others.pop("also", {})
        return changes({"DSA": old, "DSB": new}, now, [Replacement(**{**right, **others})])

    assert found() == []
    assert found(new="DSC") == ["DSA is replaced by DSC, which is not there"]
    assert found(also={"DSA": old}) == ["DSA is renamed and still there"]
    assert found(old="DSD") == ["DSA is gone", "DSD is renamed and was never published"]
    assert found(inputs={"m": "m", "c": "c2"}) == ["DSA: input a has no place"]
    assert found(inputs={**right["inputs"], "m": "a"}) == ["DSA: input m has no place"]
    assert found(inputs={**right["inputs"], "z": "a"}) == ["DSA: input z was never there"]
    assert found(values={"z": 1}) == ["DSB has no input z"]
    assert found(widgets=["c", "a"]) == ["DSA had the widgets ['a', 'c']"]
    assert found(outputs={0: 1}) == ["DSA: output 1 has no place"]
    assert found(outputs={0: 0, 1: 1}) == ["DSA: output 0 has no place", "DSA: output 1 has no place"]
    assert "DSA.c no longer offers ['y']" in found(changed={"choices": {"c2": ["x"]}})


def test_replacements_are_as_the_host_wants_them():
    from dreamsampler.nodes.host import Replacement

    made = Replacement("DSA", "DSB", {"a": "b"}, ["a"], {"c": 3}, {1: 0})
    assert made.declared() == {
        "old_node_id": "DSA",
        "new_node_id": "DSB",
        "old_widget_ids": ["a"],
        "input_mapping": [{"old_id": "a", "new_id": "b"}, {"new_id": "c", "set_value": 3}],
        "output_mapping": [{"old_idx": 1, "new_idx": 0}],
    }


def test_hosts_that_know_no_replacements_load_the_pack():
    from comfy_api.latest import io
    from dreamsampler import comfy_entrypoint
    from dreamsampler.nodes.host import Replacement, register_replacements

    async def load() -> None:
        await (await comfy_entrypoint()).on_load()
        await register_replacements([Replacement("DSGone", "DSLoadSVG", {"file": "file"})])

    if hasattr(io, "NodeReplace"):
        pytest.skip("This host knows replacements.")
    asyncio.run(load())


if __name__ == "__main__":
    sys.path.insert(0, str(FROZEN.parents[1]))
    import conftest  # noqa: F401

    FROZEN.write_text(json.dumps(frozen_now(), indent=1) + "\n", "utf-8")
