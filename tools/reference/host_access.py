"""Makes the development host's `comfy` usable outside its server, on a GPU where there is one."""

from __future__ import annotations


def import_comfy() -> None:
    """Prepare `import comfy`. Raises ImportError outside the development host's Python."""
    try:
        from comfy.cli_args import args
    except ImportError as error:
        raise ImportError(
            "ComfyUI is not importable here. Set up the development host with `python -m tools.devhost` and run this "
            "with its Python, .host/venv/bin/python."
        ) from error
    import torch

    args.cpu = not torch.cuda.is_available()
