"""SVGs as what is optimized: parameters, tracing, styles, losses and learning rates. Pure torch, no ComfyUI."""
