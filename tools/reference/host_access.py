"""Makes `comfy` and the pack importable outside ComfyUI's server, using a GPU if there is one."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

from ..devhost import locate

PACK = "dreamsampler"
CHECKOUT = Path(__file__).resolve().parents[2]


def import_comfy() -> None:
    """Prepare `import comfy`. Raises ImportError outside the development host's Python."""
    try:
        from comfy.cli_args import args
    except ImportError as error:
        raise ImportError(
            "ComfyUI cannot be imported. Set up the development host with `python -m tools.devhost`, then run this "
            "with its Python, .host/venv/bin/python."
        ) from error
    import torch

    args.cpu = not torch.cuda.is_available()
    if (host := locate()).is_borrowed:
        args.base_directory = str(host.base_directory)


def import_pack() -> None:
    """Prepare `import dreamsampler` outside the development host, which has a link of that name."""
    if importlib.util.find_spec(PACK) is None:
        spec = importlib.util.spec_from_file_location(
            PACK, CHECKOUT / "__init__.py", submodule_search_locations=[str(CHECKOUT)]
        )
        assert spec and spec.loader
        sys.modules[PACK] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)


def host_nodes() -> Any:
    """The host's module of core nodes. Its name, `nodes`, is hidden by the checkout's own folder."""
    import comfy

    name = "comfyui_core_nodes"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(comfy.__path__[0]).parent / "nodes.py")
        assert spec and spec.loader
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


def import_extra_nodes() -> None:
    """Make the host's extra nodes importable outside its server, among them those that SVG sockets need."""
    root = str(Path(host_nodes().__file__).parent)
    sys.modules.setdefault("nodes", host_nodes())
    sys.path.insert(0, root)  # its nodes put another `utils` first on the path
    try:
        importlib.import_module("utils.install_util")
        importlib.import_module("comfy_extras.nodes_images")
    finally:
        sys.path.remove(root)
