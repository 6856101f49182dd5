"""Compiles the blending kernels for CUDA without a GPU and prints the results.

A separate program, because Triton decides once per process whether it compiles or interprets.
"""

from __future__ import annotations

import triton
from dreamsampler.svg.raster import blending_kernel as kernels
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

AMPERE = GPUTarget("cuda", 80, 32)
CONSTANTS = {"KEEP": True, "BLOCK": 16, "FIELDS": 8}
TYPES = {
    **dict.fromkeys(("layers", "entries", "begins"), "*i64"),
    **dict.fromkeys(("height", "width", "blocks_per_row", "cells", "paint_size"), "i32"),
    **dict.fromkeys(CONSTANTS, "constexpr"),
}

for function in (kernels._forward, kernels._backward):
    for real in ("fp32", "fp64"):
        types = {name: TYPES.get(name, f"*{real}") for name in function.arg_names}
        constants = {name: value for name, value in CONSTANTS.items() if name in types}
        compiled = triton.compile(ASTSource(function, types, constexprs=constants), target=AMPERE)
        print(function.__name__, real, "cubin" in compiled.asm)
