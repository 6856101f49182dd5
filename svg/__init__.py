"""Vector drawings: document model, parser, writer, differentiable rasteriser. Pure torch and standard library."""
