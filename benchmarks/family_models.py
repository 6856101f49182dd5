"""Tiny random models of the families that ComfyUI knows, built from its own classes: the rows of `families`."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.supported_models
import torch

from .provenance import CHECKOUT

sys.path.append(str(CHECKOUT / "tests"))

from support.tiny_models import Conditioning, Latent, randomize  # noqa: E402

TEXT, POOLED = 16, 8
"""Widths of the tiny models' prompts."""
MASK = torch.ones(1, 4, dtype=torch.long)
"""An attention mask of a prompt, as text encoders give it."""


@dataclass(frozen=True)
class Noise:
    """A tensor of normal noise in a conditioning, different for each prompt."""

    shape: tuple[int, ...]


@dataclass(frozen=True)
class Ids:
    """Random token numbers in a conditioning."""

    shape: tuple[int, ...]
    below: int = 100


@dataclass(frozen=True)
class Row:
    """A model of a family: its ComfyUI configuration, the shape (C, [1,] H, W) of a latent, and its conditioning.

    `unet` also replaces what the configuration sets itself. `text` is the shape of a prompt's tokens, `negative_text`
    that of the other prompts'. `state` is a part of a checkpoint from which ComfyUI tells variants.
    """

    name: str
    config: str
    unet: Mapping[str, Any]
    shape: tuple[int, ...]
    extra: Mapping[str, Any] = field(default_factory=dict)
    text: tuple[int, int] = (4, TEXT)
    negative_text: tuple[int, int] | None = None
    pooled: int | None = None
    state: Mapping[str, Any] = field(default_factory=dict)
    model_type: str = ""

    @property
    def known(self) -> bool:
        """Whether the running ComfyUI has the family."""
        return hasattr(comfy.supported_models, self.config)

    def model(self) -> comfy.model_patcher.ModelPatcher:
        """A MODEL, created in inference mode as loader nodes do."""
        family = getattr(comfy.supported_models, self.config)
        own = {**family.unet_extra_config, **{k: v for k, v in self.unet.items() if k in family.unet_extra_config}}
        family = type(self.config, (family,), {"unet_extra_config": own})
        options = dict(self.unet)
        while True:  # older versions do not know all options
            try:
                model = self._built(family(dict(options)))
                break
            except TypeError as error:
                unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
                if not unknown or unknown[1] not in options:
                    raise
                del options[unknown[1]]
        randomize(model.diffusion_model, seed=1)
        model.eval()
        device = comfy.model_management.get_torch_device()
        return comfy.model_patcher.ModelPatcher(
            model, load_device=device, offload_device=comfy.model_management.unet_offload_device()
        )

    def _built(self, config: Any) -> comfy.model_base.BaseModel:
        config.set_inference_dtype(torch.float32, None)
        if self.model_type:
            return comfy.model_base.BaseModel(config, comfy.model_base.ModelType[self.model_type])
        return config.get_model({**self.state})

    def conditioning(self, seed: int) -> Conditioning:
        """A random prompt; 1 is the target."""
        generator = torch.Generator().manual_seed(1000 + seed)

        def made(value: Any) -> Any:
            if isinstance(value, Noise):
                return torch.randn(value.shape, generator=generator)
            if isinstance(value, Ids):
                return torch.randint(value.below, value.shape, generator=generator)
            return [made(each) for each in value] if isinstance(value, list) else value

        text = self.negative_text if seed != 1 and self.negative_text else self.text
        pooled = None if self.pooled is None else made(Noise((1, self.pooled)))
        values = {name: made(value) for name, value in self.extra.items()}
        return [[made(Noise((1, *text))), {"pooled_output": pooled, **values}]]

    def latent(self) -> Latent:
        """A LATENT of a random image, about as large as an encoded one."""
        samples = torch.randn(1, *self.shape, generator=torch.Generator().manual_seed(5))
        scale = getattr(getattr(comfy.supported_models, self.config).latent_format(), "scale_factor", 1.0)
        return {"samples": samples / (scale if isinstance(scale, float) else 1.0)}


# Models

_UNET = {
    "image_size": 32, "in_channels": 4, "out_channels": 4, "model_channels": 64, "channel_mult": (1, 2),
    "num_res_blocks": [1, 1], "transformer_depth": [1, 0], "transformer_depth_output": [1, 1, 0, 0],
    "transformer_depth_middle": 1, "use_spatial_transformer": True, "use_linear_in_transformer": True,
    "use_temporal_attention": False, "context_dim": TEXT, "adm_in_channels": None, "legacy": False,
}  # fmt: skip
_SDXL = {**_UNET, "adm_in_channels": POOLED + 6 * 256, "num_classes": "sequential"}
_MMDIT = {
    "in_channels": 16, "pos_embed_scaling_factor": None, "pos_embed_max_size": 8, "num_patches": 64,
    "input_size": None, "depth": 1, "num_blocks": 2, "adm_in_channels": POOLED,
    "context_embedder_config": {"target": "torch.nn.Linear", "params": {"in_features": TEXT, "out_features": 64}},
}  # fmt: skip
_STAGE_C = {
    "stable_cascade_stage": "c", "c_r": 16, "c_cond": 32, "c_hidden": [32, 32], "nhead": [2, 2],
    "blocks": [[1, 1], [1, 1]], "c_clip_text": TEXT, "c_clip_text_pooled": POOLED,
}  # fmt: skip
_STAGE_B = {
    "stable_cascade_stage": "b", "c_r": 16, "c_cond": 32, "c_hidden": [16, 16, 32, 32], "nhead": [-1, -1, 2, 2],
    "blocks": [[1, 1, 1, 1], [1, 1, 1, 1]], "block_repeat": [[1, 1, 1, 1], [1, 1, 1, 1]], "c_clip": POOLED,
}  # fmt: skip
_AURA = {
    "dim": 64, "n_layers": 2, "n_double_layers": 1, "n_heads": 2, "global_conddim": 64, "cond_seq_dim": TEXT,
    "max_seq": 64,
}  # fmt: skip
_PIXART = {
    "input_size": 8, "patch_size": 2, "in_channels": 4, "hidden_size": 48, "depth": 2, "num_heads": 4,
    "caption_channels": TEXT, "model_max_length": 8, "pe_interpolation": 1,
}  # fmt: skip
_HYDIT = {
    "hidden_size": 64, "depth": 4, "num_heads": 2, "mlp_ratio": 2.0, "text_states_dim": TEXT,
    "text_states_dim_t5": TEXT, "text_len": 4, "text_len_t5": 4,
}  # fmt: skip
_HYDIT_TEXT = {
    "attention_mask": MASK, "conditioning_mt5xl": Noise((1, 4, TEXT)),
    "attention_mask_mt5xl": MASK,
}  # fmt: skip
_FLUX = {
    "image_model": "flux", "in_channels": 16, "out_channels": 16, "patch_size": 2, "vec_in_dim": POOLED,
    "context_in_dim": TEXT, "hidden_size": 32, "mlp_ratio": 2.0, "num_heads": 2, "depth": 1,
    "depth_single_blocks": 1, "axes_dim": [4, 6, 6], "theta": 10000, "qkv_bias": True, "guidance_embed": False,
    "txt_ids_dims": [],
}  # fmt: skip
_FLUX_DEV = {**_FLUX, "guidance_embed": True}
_KLEIN = {
    **_FLUX, "image_model": "flux2", "in_channels": 128, "out_channels": 128, "patch_size": 1, "vec_in_dim": None,
    "axes_dim": [4, 4, 4, 4], "theta": 2000, "qkv_bias": False, "txt_ids_dims": [3], "global_modulation": True,
    "mlp_silu_act": True, "ops_bias": False, "default_ref_method": "index", "ref_index_scale": 10.0,
}  # fmt: skip
_CHROMA = {
    **{name: value for name, value in _FLUX.items() if name != "guidance_embed"}, "image_model": "chroma",
    "in_channels": 64, "out_channels": 64, "vec_in_dim": None, "in_dim": 64, "out_dim": 32, "hidden_dim": 32,
    "n_layers": 1,
}  # fmt: skip
_RADIANCE = {
    **_CHROMA, "image_model": "chroma_radiance", "in_channels": 3, "out_channels": 3, "patch_size": 16,
    "nerf_hidden_size": 16, "nerf_mlp_ratio": 2, "nerf_depth": 1, "nerf_max_freqs": 4, "nerf_tile_size": 0,
    "nerf_final_head_type": "conv", "nerf_embedder_dtype": torch.float32, "use_x0": False,
    "use_sequential_txt_ids": False,
}  # fmt: skip
_LENS = {
    "image_model": "lens", "in_channels": 128, "out_channels": 32, "num_layers": 1, "attention_head_dim": 16,
    "num_attention_heads": 2, "enc_hidden_dim": TEXT, "axes_dims_rope": (4, 6, 6),
}  # fmt: skip
_HUNYUAN_VIDEO = {
    "image_model": "hunyuan_video", "in_channels": 16, "out_channels": 16, "vec_in_dim": POOLED,
    "context_in_dim": TEXT, "hidden_size": 32, "mlp_ratio": 2.0, "num_heads": 2, "depth": 1,
    "depth_single_blocks": 1, "axes_dim": [4, 6, 6], "theta": 256, "patch_size": [1, 2, 2], "qkv_bias": True,
    "guidance_embed": False, "byt5": False, "meanflow": False, "use_cond_type_embedding": False,
    "vision_in_dim": None, "meanflow_sum": False,
}  # fmt: skip
_HUNYUAN_IMAGE = {
    **_HUNYUAN_VIDEO, "in_channels": 64, "out_channels": 64, "vec_in_dim": None, "axes_dim": [8, 8],
    "patch_size": [1, 1],
}  # fmt: skip
_COSMOS = {
    "image_model": "cosmos", "max_img_h": 64, "max_img_w": 64, "max_frames": 8, "in_channels": 16,
    "out_channels": 16, "patch_spatial": 2, "patch_temporal": 1, "concat_padding_mask": True, "model_channels": 64,
    "num_blocks": 1, "num_heads": 2, "crossattn_emb_channels": TEXT, "pos_emb_cls": "rope3d",
    "use_adaln_lora": True, "adaln_lora_dim": 16,
}  # fmt: skip
_COSMOS_VIDEO = {
    **_COSMOS, "block_x_format": "THWBD", "affline_emb_norm": True, "extra_per_block_abs_pos_emb": True,
    "extra_per_block_abs_pos_emb_type": "learnable",
}  # fmt: skip
_PREDICT2 = {**_COSMOS, "image_model": "cosmos_predict2", "rope_enable_fps_modulation": False}
_LUMINA = {
    "image_model": "lumina2", "patch_size": 2, "in_channels": 16, "dim": 64, "n_layers": 1, "n_refiner_layers": 1,
    "n_heads": 2, "n_kv_heads": 2, "multiple_of": 16, "ffn_dim_multiplier": 1.0, "qk_norm": True,
    "cap_feat_dim": TEXT, "axes_dims": [8, 12, 12], "axes_lens": [64, 64, 64],
}  # fmt: skip
_ZIMAGE = {
    **_LUMINA, "dim": 256, "n_heads": 8, "n_kv_heads": 8, "rope_theta": 256.0,
    "z_image_modulation": True, "time_scale": 1000.0, "pad_tokens_multiple": 4,
}  # fmt: skip
_PIXELDIT = {
    "num_groups": 2, "hidden_size": 64, "pixel_hidden_size": 8, "pixel_attn_hidden_size": 32,
    "pixel_num_groups": 2, "patch_depth": 2, "pixel_depth": 1, "patch_size": 8, "txt_embed_dim": TEXT,
}  # fmt: skip
_HIDREAM = {
    "image_model": "hidream", "patch_size": 2, "in_channels": 16, "out_channels": 16, "num_layers": 1,
    "num_single_layers": 1, "attention_head_dim": 32, "num_attention_heads": 2, "caption_channels": [TEXT, TEXT],
    "text_emb_dim": POOLED, "axes_dims_rope": [16, 8, 8], "max_resolution": [16, 16], "llama_layers": [0, 0],
}  # fmt: skip
_HIDREAM_O1 = {
    "image_model": "hidream_o1",
    "text_config_overrides": {
        "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 2, "head_dim": 32, "rope_dims": [6, 5, 5],
    },
    "vision_config_overrides": {
        "hidden_size": 32, "num_heads": 2, "intermediate_size": 32, "depth": 1, "deepstack_visual_indexes": (0,),
        "num_position_embeddings": 64,
    },
}  # fmt: skip
_OMNIGEN = {
    "image_model": "omnigen2", "hidden_size": 48, "num_layers": 1, "num_refiner_layers": 1,
    "num_attention_heads": 2, "num_kv_heads": 2, "multiple_of": 16, "axes_dim_rope": (8, 8, 8),
    "axes_lens": (64, 64, 64), "text_feat_dim": TEXT, "timestep_scale": 1000.0,
}  # fmt: skip
_BOOGU = {
    **{name: value for name, value in _OMNIGEN.items() if name != "text_feat_dim"}, "image_model": "boogu",
    "num_layers": 2, "num_double_stream_layers": 1, "instruction_feat_dim": TEXT,
}  # fmt: skip
_IDEOGRAM = {
    "image_model": "ideogram4", "in_channels": 128, "num_layers": 1, "num_attention_heads": 2,
    "attention_head_dim": 32, "intermediate_size": 32, "adaln_dim": 16, "llm_features_dim": TEXT,
    "mrope_section": (6, 5, 5),
}  # fmt: skip
_KREA = {
    "image_model": "krea2", "features": 64, "tdim": 32, "txtdim": TEXT, "heads": 2, "kvheads": 2, "layers": 1,
    "txtlayers": 2, "txtheads": 2, "txtkvheads": 2,
}  # fmt: skip
_QWEN = {
    "image_model": "qwen_image", "in_channels": 64, "out_channels": 16, "num_layers": 1, "attention_head_dim": 16,
    "num_attention_heads": 2, "joint_attention_dim": TEXT, "axes_dims_rope": (4, 6, 6),
}  # fmt: skip
_LAYERED = {**_QWEN, "use_additional_t_cond": True, "default_ref_method": "negative_index"}
_MAGE = {**_QWEN, "image_model": "mage_flow", "in_channels": 128, "out_channels": 128}
_JOY = {
    "image_model": "joyimage", "hidden_size": 32, "num_attention_heads": 2, "text_dim": TEXT, "num_layers": 1,
    "rope_dim_list": [4, 6, 6],
}  # fmt: skip
_KANDINSKY = {
    "image_model": "kandinsky5", "in_text_dim": TEXT, "in_text_dim2": POOLED, "time_dim": 32, "model_dim": 32,
    "ff_dim": 32, "visual_embed_dim": 132, "num_text_blocks": 1, "num_visual_blocks": 1, "axes_dims": (4, 6, 6),
}  # fmt: skip
_ERNIE = {
    "image_model": "ernie", "hidden_size": 64, "num_attention_heads": 2, "num_layers": 1, "ffn_hidden_size": 64,
    "text_in_dim": TEXT, "rope_axes_dim": (8, 12, 12),
}  # fmt: skip
_WAN = {
    "image_model": "wan2.1", "model_type": "t2v", "dim": 32, "ffn_dim": 32, "freq_dim": 32, "text_dim": TEXT,
    "num_heads": 2, "num_layers": 1, "text_len": 4,
}  # fmt: skip
_LTXV = {
    "image_model": "ltxv", "cross_attention_dim": 32, "attention_head_dim": 16, "num_attention_heads": 2,
    "caption_channels": TEXT, "num_layers": 1,
}  # fmt: skip
_MOCHI = {
    "image_model": "mochi_preview", "depth": 2, "patch_size": 2, "num_heads": 2, "hidden_size_x": 64,
    "hidden_size_y": 32, "mlp_ratio_x": 192.0, "mlp_ratio_y": 2.0, "learn_sigma": False, "in_channels": 12,
    "qk_norm": True, "qkv_bias": False, "out_bias": True, "attn_drop": 0.0, "patch_embed_bias": True,
    "posenc_preserve_area": True, "timestep_mlp_bias": True, "attend_to_padding": False, "timestep_scale": 1000.0,
    "use_t5": True, "t5_feat_dim": TEXT, "t5_token_length": 4, "rope_theta": 10000.0,
}  # fmt: skip
_COGVIDEO = {
    "image_model": "cogvideox", "num_attention_heads": 2, "attention_head_dim": 16, "time_embed_dim": 32,
    "text_embed_dim": TEXT, "num_layers": 1, "sample_width": 8, "sample_height": 8,
    "use_rotary_positional_embeddings": True,
}  # fmt: skip

_FOUR, _LARGE, _SIXTEEN, _FRAME = (4, 8, 8), (4, 48, 48), (16, 8, 8), (16, 1, 8, 8)
_FLUX2_LATENT, _PIXELS = (128, 8, 8), (3, 32, 32)
_REFERENCE, _REFERENCE_FRAME = ({"reference_latents": [Noise((1, *shape))]} for shape in (_SIXTEEN, _FRAME))

ROWS = (
    Row("SD15", "SD15", {**_UNET, "use_linear_in_transformer": False}, _FOUR),
    Row("SD20 v", "SD20", _UNET, _FOUR, model_type="V_PREDICTION"),
    Row("SD21UnclipL", "SD21UnclipL", {**_UNET, "adm_in_channels": 1536, "num_classes": "sequential"}, _FOUR),
    Row("SD15 inpaint 9ch", "SD15", {**_UNET, "in_channels": 9}, _FOUR, {
        "concat_latent_image": Noise((1, *_FOUR)), "concat_mask": torch.ones(1, 1, 64, 64),
    }),
    Row("SD15_instructpix2pix", "SD15_instructpix2pix", {**_UNET, "in_channels": 8}, _FOUR, {
        "concat_latent_image": Noise((1, *_FOUR)),
    }),
    Row("LotusD", "LotusD", {
        **_UNET, "adm_in_channels": 4, "num_classes": "sequential", "num_head_channels": 64,
    }, _FOUR),
    Row("SD_X4Upscaler", "SD_X4Upscaler", {**_UNET, "in_channels": 7, "disable_self_attentions": [True, False]}, _FOUR),
    Row("SDXLRefiner", "SDXLRefiner", {**_SDXL, "adm_in_channels": POOLED + 5 * 256}, _FOUR, pooled=POOLED),
    Row("SDXL", "SDXL", _SDXL, _FOUR, pooled=POOLED),
    Row("SDXL playground2.5 (EDM)", "SDXL", _SDXL, _FOUR, pooled=POOLED, state={
        "edm_mean": torch.zeros(1, 4, 1, 1), "edm_std": torch.ones(1, 4, 1, 1),
    }),
    Row("SDXL_instructpix2pix", "SDXL_instructpix2pix", {**_SDXL, "in_channels": 8}, _FOUR, {
        "concat_latent_image": Noise((1, *_FOUR)),
    }, pooled=POOLED),
    Row("SVD_img2vid", "SVD_img2vid", {
        **_UNET, "in_channels": 8, "adm_in_channels": 768, "num_classes": "sequential", "use_temporal_attention": True,
        "use_temporal_resblock": True, "use_spatial_context": True, "extra_ff_mix_layer": True,
        "merge_strategy": "learned_with_images", "merge_factor": 0.0, "video_kernel_size": [3, 1, 1],
    }, _FOUR, {"concat_latent_image": Noise((1, *_FOUR))}, text=(1, TEXT)),
    Row("Stable_Cascade_C", "Stable_Cascade_C", _STAGE_C, _SIXTEEN, pooled=POOLED),
    Row("Stable_Cascade_B", "Stable_Cascade_B", _STAGE_B, (4, 32, 32), {
        "stable_cascade_prior": Noise((1, 16, 3, 3)),
    }, pooled=POOLED),
    Row("SD3", "SD3", _MMDIT, _SIXTEEN, pooled=POOLED),
    Row("AuraFlow", "AuraFlow", _AURA, _FOUR),
    Row("PixArtAlpha", "PixArtAlpha", {**_PIXART, "image_model": "pixart_alpha", "micro_condition": True}, _LARGE, {
        "width": 64, "height": 64,
    }),
    Row("PixArtSigma", "PixArtSigma", {**_PIXART, "image_model": "pixart_sigma", "micro_condition": False}, _LARGE),
    Row("HunyuanDiT", "HunyuanDiT", {
        **_HYDIT, "image_model": "hydit", "size_cond": True, "use_style_cond": True,
    }, _FOUR, _HYDIT_TEXT),
    Row("HunyuanDiT1", "HunyuanDiT1", {**_HYDIT, "image_model": "hydit1"}, _FOUR, _HYDIT_TEXT),
    Row("FluxSchnell", "FluxSchnell", _FLUX, _SIXTEEN, pooled=POOLED),
    Row("Flux dev (guidance 3.5)", "Flux", _FLUX_DEV, _SIXTEEN, {"guidance": 3.5}, pooled=POOLED),
    Row("Flux dev (guidance 1)", "Flux", _FLUX_DEV, _SIXTEEN, {"guidance": 1.0}, pooled=POOLED),
    Row("Flux Kontext (reference_latents)", "Flux", _FLUX_DEV, _SIXTEEN, {"guidance": 1.0, **_REFERENCE},
        pooled=POOLED),
    Row("FluxInpaint (Fill)", "FluxInpaint", {**_FLUX_DEV, "in_channels": 96}, _SIXTEEN, {
        "guidance": 1.0, "concat_latent_image": Noise((1, *_SIXTEEN)), "concat_mask": torch.ones(1, 1, 64, 64),
    }, pooled=POOLED),
    Row("LongCatImage", "LongCatImage", {**_FLUX, "vec_in_dim": None, "txt_ids_dims": [1, 2]}, _SIXTEEN),
    Row("Flux2", "Flux2", {**_KLEIN, "guidance_embed": True}, _FLUX2_LATENT, {"guidance": 1.0}),
    Row("Flux2 Klein (no guidance)", "Flux2", _KLEIN, _FLUX2_LATENT),
    Row("Flux2 Klein edit (reference_latents)", "Flux2", _KLEIN, _FLUX2_LATENT, {
        "reference_latents": [Noise((1, *_FLUX2_LATENT))],
    }),
    Row("Lens", "Lens", _LENS, _FLUX2_LATENT, text=(4, 4 * TEXT)),
    Row("Chroma", "Chroma", _CHROMA, _SIXTEEN),
    Row("ChromaRadiance (pixel)", "ChromaRadiance", _RADIANCE, _PIXELS),
    Row("HunyuanImage21", "HunyuanImage21", _HUNYUAN_IMAGE, (64, 8, 8)),
    Row("HunyuanImage21 distilled (meanflow, guidance)", "HunyuanImage21", {
        **_HUNYUAN_IMAGE, "guidance_embed": True, "meanflow": True,
    }, (64, 8, 8), {"guidance": 3.5}),
    Row("HunyuanImage21 distilled (guidance 1)", "HunyuanImage21", {
        **_HUNYUAN_IMAGE, "guidance_embed": True, "meanflow": True,
    }, (64, 8, 8), {"guidance": 1.0}),
    Row("HunyuanImage21Refiner", "HunyuanImage21Refiner", {
        **_HUNYUAN_VIDEO, "in_channels": 128, "out_channels": 64, "vec_in_dim": None, "patch_size": [1, 1, 1],
    }, (32, 1, 8, 8), pooled=POOLED),
    Row("CosmosT2IPredict2", "CosmosT2IPredict2", _PREDICT2, _FRAME),
    Row("Anima", "Anima", {**_PREDICT2, "image_model": "anima", "crossattn_emb_channels": 1024}, _FRAME,
        text=(4, 1024)),
    Row("Anima with t5 ids", "Anima", {**_PREDICT2, "image_model": "anima", "crossattn_emb_channels": 1024}, _FRAME, {
        "t5xxl_ids": Ids((4,)), "t5xxl_weights": torch.ones(4),
    }, text=(4, 1024)),
    Row("Lumina2", "Lumina2", _LUMINA, _SIXTEEN, {"attention_mask": MASK}),
    Row("ZImage", "ZImage", _ZIMAGE, _SIXTEEN, {"attention_mask": MASK}),
    Row("ZImage different text lengths", "ZImage", _ZIMAGE, _SIXTEEN, negative_text=(6, TEXT)),
    Row("ZImagePixelSpace", "ZImagePixelSpace", {
        **_ZIMAGE, "image_model": "zimage_pixel", "patch_size": 8, "in_channels": 3, "decoder_hidden_size": 32,
        "decoder_num_res_blocks": 1, "decoder_max_freqs": 4, "decoder_in_channels": 192,
    }, _PIXELS),
    Row("PixelDiTT2I", "PixelDiTT2I", {**_PIXELDIT, "image_model": "pixeldit_t2i"}, _PIXELS),
    Row("PiD (needs lq_latent)", "PiD", {
        **_PIXELDIT, "image_model": "pid", "lq_hidden_dim": 16, "lq_num_res_blocks": 1,
    }, _PIXELS, {"lq_latent": Noise((1, 16, 2, 2)), "degrade_sigma": torch.zeros(1)}),
    Row("HiDream", "HiDream", _HIDREAM, _SIXTEEN, {"conditioning_llama3": Noise((1, 1, 4, TEXT))}, pooled=POOLED),
    Row("HiDreamO1 (pixel, noise_scale 8)", "HiDreamO1", _HIDREAM_O1, (3, 64, 64), {"text_input_ids": Ids((1, 6))}),
    Row("Omnigen2", "Omnigen2", _OMNIGEN, _SIXTEEN, {"attention_mask": MASK}),
    Row("Omnigen2 (reference_latents)", "Omnigen2", _OMNIGEN, _SIXTEEN, {
        "attention_mask": MASK, **_REFERENCE,
    }),
    Row("Boogu", "Boogu", _BOOGU, _SIXTEEN, {"attention_mask": MASK}),
    Row("Ideogram4", "Ideogram4", _IDEOGRAM, _FLUX2_LATENT),
    Row("Krea2", "Krea2", _KREA, _FRAME, text=(4, 2 * TEXT)),
    Row("MageFlow", "MageFlow", _MAGE, _FLUX2_LATENT),
    Row("QwenImage", "QwenImage", _QWEN, _FRAME),
    Row("QwenImage edit (reference_latents)", "QwenImage", _QWEN, _FRAME, _REFERENCE_FRAME),
    Row("QwenImage layered (3 layers)", "QwenImage", _LAYERED, (16, 3, 8, 8)),
    Row("QwenImage layered (1 layer)", "QwenImage", _LAYERED, _FRAME),
    Row("JoyImage", "JoyImage", _JOY, _FRAME),
    Row("Kandinsky5Image", "Kandinsky5Image", {**_KANDINSKY, "visual_embed_dim": 64}, _SIXTEEN, pooled=POOLED),
    Row("Kandinsky5 (video, 1 frame)", "Kandinsky5", _KANDINSKY, _FRAME, pooled=POOLED),
    Row("ErnieImage", "ErnieImage", _ERNIE, _FLUX2_LATENT),
    Row("WAN21_T2V (1 frame)", "WAN21_T2V", _WAN, _FRAME),
    Row("WAN21_T2V (3 frames)", "WAN21_T2V", _WAN, (16, 3, 8, 8)),
    Row("WAN22_T2V 5B (1 frame)", "WAN22_T2V", {**_WAN, "in_dim": 48, "out_dim": 48}, (48, 1, 8, 8)),
    Row("WAN21_FlowRVS (IMG_TO_IMG_FLOW)", "WAN21_FlowRVS", {**_WAN, "model_type": "flow_rvs"}, _FRAME),
    Row("HunyuanVideo (1 frame)", "HunyuanVideo", _HUNYUAN_VIDEO, _FRAME, pooled=POOLED),
    Row("HunyuanVideo15 (1 frame)", "HunyuanVideo15", {
        **_HUNYUAN_VIDEO, "in_channels": 65, "out_channels": 32, "vec_in_dim": None, "patch_size": [1, 1, 1],
        "vision_in_dim": TEXT, "meanflow_sum": True,
    }, (32, 1, 8, 8), pooled=POOLED),
    Row("LTXV (1 frame)", "LTXV", _LTXV, (128, 1, 8, 8), {"attention_mask": MASK}),
    Row("CosmosT2V (EDM)", "CosmosT2V", _COSMOS_VIDEO, _FRAME),
    Row("CosmosI2V (1 frame)", "CosmosI2V", {**_COSMOS_VIDEO, "in_channels": 17}, _FRAME),
    Row("CosmosI2VPredict2 (1 frame)", "CosmosI2VPredict2", {**_PREDICT2, "in_channels": 17}, _FRAME),
    Row("CogVideoX_T2V (1 frame)", "CogVideoX_T2V", _COGVIDEO, _FRAME),
    Row("WAN21_I2V (1 frame)", "WAN21_I2V", {**_WAN, "model_type": "i2v", "in_dim": 36}, _FRAME, {
        "concat_latent_image": Noise((1, *_FRAME)), "concat_mask": torch.ones(1, 1, 1, 8, 8),
    }),
    Row("WAN21_FunControl2V (1 frame)", "WAN21_FunControl2V", {**_WAN, "model_type": "i2v", "in_dim": 48}, _FRAME, {
        "concat_latent_image": Noise((1, 32, 1, 8, 8)),
    }),
    Row("HunyuanVideoSkyreelsI2V (1 frame)", "HunyuanVideoSkyreelsI2V", {**_HUNYUAN_VIDEO, "in_channels": 32}, _FRAME, {
        "concat_latent_image": Noise((1, *_FRAME)),
    }, pooled=POOLED),
    Row("GenmoMochi (1 frame)", "GenmoMochi", _MOCHI, (12, 1, 8, 8), {"attention_mask": MASK}),
    Row("Stable_Zero123", "Stable_Zero123", {**_UNET, "in_channels": 8, "context_dim": 768}, _FOUR, {
        "concat_latent_image": Noise((1, *_FOUR)),
    }, text=(1, 768), state={
        "cc_projection.weight": torch.ones(768, 772) / 772, "cc_projection.bias": torch.zeros(768),
    }),
)  # fmt: skip
"""Image models, and video models with one frame."""
