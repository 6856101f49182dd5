"""Turns a workflow saved by the front end into the API prompt that the front end would queue for it."""

from __future__ import annotations

from typing import Any

UI_ONLY = ("Note", "MarkdownNote", "Reroute")
WIDGET_TYPES = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")


def to_api(workflow: dict[str, Any], object_info: dict[str, Any]) -> dict[str, Any]:
    """The API prompt of a workflow in UI format 0.4, by the node definitions of the server."""
    links = {link[0]: [str(link[1]), link[2]] for link in workflow["links"]}
    return {
        str(node["id"]): {
            "class_type": node["type"],
            "inputs": _inputs(node, object_info[node["type"]]["input"], links),
        }
        for node in workflow["nodes"]
        if node["type"] not in UI_ONLY
    }


def _inputs(node: dict[str, Any], definition: dict[str, Any], links: dict[int, list]) -> dict[str, Any]:
    linked = {i["name"]: links[i["link"]] for i in node["inputs"] if i["link"] is not None}
    values = iter(node["widgets_values"])
    widgets = {}
    for name, (kind, *options) in (
        (n, d) for part in ("required", "optional") for n, d in definition.get(part, {}).items()
    ):
        if not (isinstance(kind, list) or kind in WIDGET_TYPES):
            continue
        widgets[name] = next(values)
        options = options[0] if options else {}
        if options.get("control_after_generate") or options.get("image_upload"):
            next(values)
    assert not list(values), f"{node['type']} has more widget values than widgets."
    return {**widgets, **linked}
