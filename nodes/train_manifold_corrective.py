"""Train Manifold Corrective: learn what the method lmc of Distillation Sampler needs to know of a model."""

from __future__ import annotations

import logging
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..guidance.networks.corrective.network import Architecture, Head
from ..guidance.networks.corrective.normalisation import STATISTICS, Statistics
from ..guidance.networks.corrective.spectral import Bands
from ..guidance.networks.corrective.storage import ManifoldCorrective
from ..guidance.networks.corrective.training import Recipe
from ..guidance.networks.unet import fitting_levels
from . import checks, host, widgets
from .runs.corrective_training import CorrectiveTraining, TrainedCorrective, progress, train
from .sockets import CORRECTIVE

log = logging.getLogger("dreamsampler")

FEW_PICTURES = 16
"""A corrective learned from fewer pictures is warned about."""

HEADS: dict[str, Head] = {"residual network": "residual", "network": "linear"}
SPECTRAL = "spectral"


class ManifoldCorrectiveTrain(io.ComfyNode):
    """`guidance.corrective` as a node."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DSManifoldCorrectiveTrain",
            display_name="Train Manifold Corrective",
            category="DreamSampler",
            description=(
                "Learns from pictures how a model blurs what it denoises, which the method lmc of Distillation Sampler "
                "takes out of its gradient. Done once for a model. An interrupted training goes on when it is queued "
                "again."
            ),
            inputs=[*_connections(), *_settings()],
            outputs=[
                CORRECTIVE.Output(
                    display_name="corrective",
                    tooltip="For Distillation Sampler, and for Save Manifold Corrective to keep it.",
                )
            ],
            hidden=[io.Hidden.unique_id],
            is_input_list=True,
        )

    @classmethod
    def execute(cls, images: list[Tensor], corrective: list[Any] | None = None, **values: Any) -> io.NodeOutput:
        given = {name: value[0] for name, value in values.items()}  # a list of one each, as images may be a list
        training = _training(images=images, corrective=corrective[0] if corrective else None, **given)
        warning = _few_pictures(len(training.latents))
        cls._tell(warning)
        made = train(training, lambda text: cls._tell(text, warning))
        cls._tell(_summary(made), warning)
        told = {"loss": made.losses, "pictures_per_second": made.rate}
        curves = [made.curve] if made.losses else []
        text = _lines(_summary(made), warning)
        return io.NodeOutput(made.corrective, ui={"corrective": [told], "distillation": curves, "text": [text]})

    @classmethod
    def _tell(cls, *texts: str) -> None:
        """Show texts on the node instead of what is shown there."""
        host.show_on_node(cls.hidden, _lines(*texts))


def _lines(*texts: str) -> str:
    return "\n".join(filter(None, texts))


def _few_pictures(count: int) -> str:
    """What is to be said, and is logged, of a training on few pictures; empty for enough."""
    if count >= FEW_PICTURES:
        return ""
    warning = (
        f"{count} pictures are few, and what is learned may hold for them alone. Connect {FEW_PICTURES} or "
        "more, the more the better."
    )
    log.warning("Train Manifold Corrective: %s", warning)
    return warning


def _training(
    *,
    model: Any,
    negative: Any,
    vae: Any,
    images: list[Tensor],
    kind: str,
    steps: int,
    batch_size: int,
    learning_rate: float,
    patch_size: int,
    seed: int,
    width: int = 32,
    levels: int = 4,
    normalisation: Statistics = "as printed",
    corrective: ManifoldCorrective | None = None,
) -> CorrectiveTraining:
    """All inputs, checked before any work starts; only then are the pictures encoded."""
    side = checks.check_corrective_training(model, negative, vae, images, patch_size)
    channels = host.latent_channels(model)
    form: Architecture | Bands = Bands(channels)
    if kind in HEADS:
        form = Architecture(channels, width, fitting_levels(side, levels), HEADS[kind])
    if corrective is not None:
        form = checks.check_trained_further(model, corrective, fit=kind == SPECTRAL)
        normalisation = corrective.about.statistics  # those its weights were trained for
    # Picture by picture, as a VAE of videos takes a batch for one.
    latents = [vae.encode(picture[None])[0] for image in images for picture in checks.checked_image(image)]
    recipe = Recipe(steps, batch_size, learning_rate, seed, normalisation)
    return CorrectiveTraining(model, negative, latents, (side, side), form, recipe, corrective)


def _summary(made: TrainedCorrective) -> str:
    about = made.corrective.about
    size = f"{about.size[1]}x{about.size[0]} cells"
    if made.corrective.kind == "spectral":
        return f"Spectral corrective of {about.family}, {size}."
    return f"Corrective of {about.family}, {size}: {about.steps} steps, {progress(made.losses, made.rate)}."


def _connections() -> list[io.Input]:
    return [
        io.Model.Input("model", tooltip="The model whose blur is learned. The corrective is for this model alone."),
        io.Conditioning.Input("negative", tooltip="The empty text."),
        io.Vae.Input("vae", tooltip="The VAE that belongs to the model."),
        io.Image.Input(
            "images",
            tooltip="Natural pictures of what the model knows, none smaller than patch_size: a batch, or a list of "
            "pictures of any size. 16 at least, a thousand are good.",
        ),
    ]


def _settings() -> list[io.Input]:
    return [
        io.Combo.Input(
            "kind",
            options=[*HEADS, SPECTRAL],
            default="residual network",
            tooltip="spectral: how much of each frequency the model keeps, fitted at once. residual network: the "
            "published U-Net on top of that, as good as spectral from the first step. network: the U-Net alone, as "
            "published; it takes very many steps.",
        ),
        io.Int.Input(
            "steps",
            default=5000,
            min=1,
            max=10_000_000,
            tooltip="Training steps, each one call of the model. 5000 are a beginning, 750000 are published. spectral "
            "needs 256 at most.",
        ),
        io.Int.Input(
            "batch_size",
            default=16,
            min=1,
            max=4096,
            tooltip="Pictures in a step: as many as memory allows. 128 are published.",
        ),
        io.Float.Input(
            "learning_rate",
            default=5e-4,
            min=1e-7,
            max=1.0,
            step=1e-5,
            round=False,
            tooltip="Size of a step of Adam. 0.0001 is published, for 150 times as many steps as the default.",
        ),
        io.Int.Input(
            "patch_size",
            default=512,
            min=8,
            max=16384,
            step=8,
            tooltip="The model's native resolution in pixels: 512 for SD1.5, 1024 for SDXL. Random patches of this "
            "size are learned from, and lmc looks at larger pictures in patches of this size.",
        ),
        widgets.seed("Seed of the weights, the patches, the times and the noise."),
        io.Int.Input(
            "width",
            default=32,
            min=4,
            max=256,
            optional=True,
            tooltip="Networks: filters of the first layer, doubled at each level. 32 is published.",
        ),
        io.Int.Input(
            "levels",
            default=4,
            min=1,
            max=6,
            optional=True,
            tooltip="Networks: how often they halve the picture, less where the patch is too small for it. 4 is "
            "published.",
        ),
        io.Combo.Input(
            "normalisation",
            options=list(STATISTICS),
            default=STATISTICS[0],
            optional=True,
            tooltip="What of the corrective does not count: its contrast, as printed in the paper; with full its "
            "brightness as well; with none, all of it counts.",
        ),
        CORRECTIVE.Input(
            "corrective",
            optional=True,
            tooltip="A network to train further, by as many steps again, instead of a new one. Its width, levels and "
            "normalisation stay.",
        ),
    ]
