"""ComfyUI-DreamSampler: diffusion models as priors to optimize against. This file registers the pack, nothing else."""

WEB_DIRECTORY = "./js"


async def comfy_entrypoint():
    """The host's entry point (V3 node API)."""
    from .nodes import DreamSamplerExtension

    return DreamSamplerExtension()


__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]
