"""The reference text encoder: a small version of the host's CLIP text model, trained to read attributes from captions.

It uses the host's tokenizer. Words outside the world keep a zero embedding, and training inserts random ones into
captions, so that unknown words have no effect. After training it is frozen, like CLIP in Stable Diffusion.
"""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import host_access, world
from .training import Stage, device_of

CONFIG = json.loads((Path(__file__).parent / "host_node" / "text_config.json").read_text())
TOKENS, VOCABULARY, START, END = 77, 49408, 49406, 49407
BATCH = 64

LABELS: dict[str, tuple[str, ...]] = {
    "colour": world.COLORS,
    "shape": world.SHAPES,
    "second colour": world.COLORS,
    "second shape": world.SHAPES,
    "background": world.COLORS,
    "pattern": world.PATTERNS,
    "corruption": world.CORRUPTIONS,
    "style": world.STYLES[1:],
    "quality": world.QUALITY_WORDS,
}
"""The attributes a caption may name and their values. Class 0 means that the caption does not name the attribute."""


def named_attributes(caption: str) -> list[int]:
    """The value that the caption names for each of `LABELS`: 0 for none, else 1 + its index."""
    words = caption.replace(",", "").split()
    objects, _, place = caption.partition(" on a")
    if "background" in objects:
        objects, place = "", caption
    first, _, second = objects.partition(" and ")
    texts = {
        **dict.fromkeys(("colour", "shape"), first.split(",")[0].split()),
        **dict.fromkeys(("second colour", "second shape"), second.split(",")[0].split()),
        **dict.fromkeys(("background", "pattern"), place.split(",")[0].split()),
    }
    values = []
    for label, names in LABELS.items():
        here = texts.get(label, words)
        found = [i + 1 for i, name in enumerate(names) if set(name.split()) <= set(here)]
        values.append(found[0] if found else 0)
    return values


class TextEncoder(nn.Module):
    """The host's CLIP text model with a linear readout of the attributes, which is used only in training."""

    causal: Tensor
    known: Tensor

    def __init__(self) -> None:
        super().__init__()
        host_access.import_comfy()
        import comfy.clip_model
        import comfy.ops

        operations = comfy.ops.disable_weight_init
        self.transformer: Any = comfy.clip_model.CLIPTextModel(CONFIG, torch.float32, "cpu", operations)
        self.transformer.requires_grad_(True)
        self.readout = nn.Linear(CONFIG["hidden_size"], sum(len(v) + 1 for v in LABELS.values()))
        initialize(self.transformer)
        embeddings = self.transformer.text_model.embeddings
        nn.init.normal_(embeddings.position_embedding.weight, std=0.05)
        self.register_buffer("causal", torch.full((TOKENS, TOKENS), -torch.inf).triu_(1), persistent=False)
        self.register_buffer("known", torch.zeros(VOCABULARY, 1), persistent=False)
        self.known[world_tokens()] = 1
        with torch.no_grad():
            embeddings.token_embedding.weight.copy_(torch.randn(VOCABULARY, CONFIG["hidden_size"]) * 0.3 * self.known)
        embeddings.token_embedding.weight.register_hook(lambda grad: grad * self.known)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, 77) tokens to (B, 77, width) conditioning, after the final layer norm.

        The host's own forward adds in place, which autograd does not allow. This one computes the same.
        """
        text_model = self.transformer.text_model
        x = text_model.embeddings(tokens)
        for layer in text_model.encoder.layers:
            x = x + layer.self_attn(layer.layer_norm1(x), self.causal, _attention)
            x = x + layer.mlp(layer.layer_norm2(x))
        return text_model.final_layer_norm(x)


def _attention(q: Tensor, k: Tensor, v: Tensor, heads: int, mask: Tensor) -> Tensor:
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)


def initialize(module: nn.Module) -> None:
    """Apply PyTorch's default initialization to the host's layers, which skip it."""
    for layer in module.modules():
        for kind in (nn.Linear, nn.Conv2d, nn.LayerNorm, nn.GroupNorm, nn.Embedding):
            if isinstance(layer, kind):
                kind.reset_parameters(layer)  # type: ignore[arg-type]


_tokenizer = None


def tokenizer():
    """The host's CLIP tokenizer."""
    global _tokenizer
    if _tokenizer is None:
        host_access.import_comfy()
        import comfy.sd1_clip

        _tokenizer = comfy.sd1_clip.SDTokenizer().tokenizer
    return _tokenizer


def tokenize(captions: list[str]) -> Tensor:
    """Captions to (B, 77) tokens, padded with the end token as the host does."""
    rows = [ids[: TOKENS - 1] for ids in tokenizer()(captions)["input_ids"]]
    return torch.tensor([row + [END] * (TOKENS - len(row)) for row in rows])


def world_tokens() -> list[int]:
    """All tokens that captions of the world can contain, including the start and end tokens."""
    vocabulary = " ".join(name for names in LABELS.values() for name in names)
    return sorted(
        set(tokenizer()(f"{vocabulary} a an and on background picture painting sketch of shape ,")["input_ids"])
    )


def _with_unknown_words(rng: Random, tokens: Tensor) -> Tensor:
    """Insert one to three random tokens into each caption."""
    rows = []
    for row in tokens.tolist():
        length = row.index(END)
        for _ in range(rng.randint(1, 3)):
            row.insert(rng.randint(1, length), rng.randrange(START))
        rows.append(row[: TOKENS - 1] + [END])
    return torch.tensor(rows)


def _loss(model: TextEncoder, rank: int):
    rng = Random(torch.initial_seed() + rank)

    def loss(step: int) -> tuple[Tensor, dict[str, float]]:
        captions = [world.sample_caption(rng, world.sample_scene(rng)) for _ in range(BATCH)]
        wanted = torch.tensor([named_attributes(c) for c in captions], device=device_of(model))
        tokens = tokenize(captions)
        if rng.random() < 0.3:
            tokens = _with_unknown_words(rng, tokens)
        tokens = tokens.to(wanted)
        z = model(tokens)
        after = torch.randint(0, 2**31, (BATCH, 6)).to(wanted)
        first_end = (tokens == END).int().argmax(1, keepdim=True)
        positions = first_end + after % (TOKENS - first_end)
        chosen = z.gather(1, positions[..., None].expand(-1, -1, z.shape[-1]))
        logits = model.readout(chosen).split([len(v) + 1 for v in LABELS.values()], -1)
        pairs = [(score, values[:, None]) for score, values in zip(logits, wanted.T, strict=True)]
        losses = [F.cross_entropy(score.movedim(-1, 1), values.expand(-1, 6)) for score, values in pairs]
        right = torch.stack([(score.argmax(-1) == values).float().mean() for score, values in pairs])
        return torch.stack(losses).sum(), {"right": right.mean().item(), "worst": right.min().item()}

    return loss


STAGE = Stage("text_encoder", TextEncoder, _loss, adamw=lambda n: "embedding" in n or "readout" in n, muon_lr=0.01)
