"""What the pack costs and how well it works, measured with the development host's Python: `-m benchmarks.NAME`."""

import importlib.util

from tools.reference.host_access import import_comfy

if importlib.util.find_spec("comfy"):  # the rasterizer is measured on machines without ComfyUI, too
    import_comfy()  # before any module here imports the nodes
