"""Registers the architecture of the reference checkpoint, so that the stock checkpoint loader can load it.

Linked into `custom_nodes` of the development host only. It inserts a small Stable Diffusion 1.5 at the front of the
host's list of known models. Real checkpoints do not match it.
"""

from pathlib import Path

import comfy.latent_formats
import comfy.sd1_clip
import comfy.supported_models
import comfy.supported_models_base

TEXT_CONFIG = Path(__file__).with_name("text_config.json")


class ReferenceLatent(comfy.latent_formats.SD15):
    """SD1.5's scale, with preview colors fitted to the reference autoencoder."""

    def __init__(self):
        super().__init__()
        self.latent_rgb_factors = [
            [-0.2088, -0.2881, -0.0407],
            [0.1467, 0.3297, -0.0918],
            [-0.3612, 0.1938, 0.2708],
            [0.1976, 0.0350, 0.4796],
        ]
        self.latent_rgb_factors_bias = [0.1053, -0.0872, -0.2161]


class ReferenceClip(comfy.sd1_clip.SDClipModel):
    """The host's CLIP text model with two narrow layers."""

    def __init__(self, device="cpu", dtype=None, model_options=None):
        super().__init__(
            device=device,
            dtype=dtype,
            textmodel_json_config=str(TEXT_CONFIG),
            return_projected_pooled=False,
            model_options=model_options or {},
        )


class ReferenceTextEncoder(comfy.sd1_clip.SD1ClipModel):
    """The text encoder in the form that the host's CLIP loader expects."""

    def __init__(self, device="cpu", dtype=None, model_options=None):
        super().__init__(device=device, dtype=dtype, model_options=model_options or {}, clip_model=ReferenceClip)  # type: ignore[arg-type]


class ReferenceModel(comfy.supported_models.SD15):
    """Stable Diffusion 1.5 with 64 model channels and text embeddings of width 96."""

    unet_config = {**comfy.supported_models.SD15.unet_config, "context_dim": 96, "model_channels": 64}
    unet_extra_config = {"num_heads": 4, "num_head_channels": -1}
    latent_format = ReferenceLatent

    def clip_target(self, state_dict=None):
        return comfy.supported_models_base.ClipTarget(comfy.sd1_clip.SD1Tokenizer, ReferenceTextEncoder)


comfy.supported_models.models.insert(0, ReferenceModel)

NODE_CLASS_MAPPINGS = {}
