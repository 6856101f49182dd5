"""Train Manifold Corrective: train the network that the method lmc of Distillation Sampler needs, once per model."""

from __future__ import annotations

import logging
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..guidance.networks.corrective.network import Architecture, Head
from ..guidance.networks.corrective.normalization import STATISTICS, Statistics
from ..guidance.networks.corrective.spectral import SpectralForm
from ..guidance.networks.corrective.storage import ManifoldCorrective
from ..guidance.networks.corrective.training import Recipe
from ..guidance.networks.unet import fitting_levels
from . import checks, host, widgets
from .runs.corrective_training import CorrectiveTraining, TrainedCorrective, progress_text, train
from .runs.thinning import thinned
from .sockets import CORRECTIVE

log = logging.getLogger("dreamsampler")

MIN_IMAGES = 16
"""Training on fewer images gives a warning."""
HEADS: dict[str, Head] = {"residual network": "residual", "network": "linear"}
SPECTRAL = "spectral"


class ManifoldCorrectiveTrain(io.ComfyNode):
    """`guidance.networks.corrective` as a node."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return widgets.schema(
            node_id="DSManifoldCorrectiveTrain",
            display_name="Train Manifold Corrective",
            category="DreamSampler",
            description=(
                "Trains a manifold corrective: it learns from images how the model blurs what it denoises, so that the "
                "method lmc of Distillation Sampler can remove that blur from its gradient. Train once per model. If "
                "interrupted, queue the node again to resume."
            ),
            search_aliases="LMC, LMC-SDS, corrective, train corrective",
            has_intermediate_output=True,
            is_experimental=True,
            advanced="learning_rate width levels normalisation",
            inputs=[*_connections(), *_settings()],
            outputs=[
                CORRECTIVE.Output(
                    display_name="corrective",
                    tooltip="For Distillation Sampler. Connect Save Manifold Corrective to keep it.",
                )
            ],
            is_input_list=True,
        )

    @classmethod
    def execute(cls, images: list[Tensor], corrective: list[Any] | None = None, **values: Any) -> io.NodeOutput:
        single = {name: value[0] for name, value in values.items()}  # is_input_list wraps every value in a list
        training = _checked_training(images=images, corrective=corrective[0] if corrective else None, **single)
        warning = _warn_of_few_images(len(training.latents))
        cls._show(warning)
        trained = train(training, lambda status: cls._show(status, warning))
        summary = _lines(_summary(trained), warning)
        cls._show(summary)
        losses = thinned({"step": list(range(len(trained.losses))), "loss": trained.losses}, "loss")
        data = {**losses, "images_per_second": trained.rate}
        curves = [trained.curve] if trained.losses else []
        return io.NodeOutput(trained.corrective, ui={"corrective": [data], "distillation": curves, "text": [summary]})

    @classmethod
    def _show(cls, *lines: str) -> None:
        """Replace the text shown on the node."""
        host.show_on_node(_lines(*lines))


def _lines(*lines: str) -> str:
    return "\n".join(filter(None, lines))


def _warn_of_few_images(count: int) -> str:
    """Logs and returns a warning if there are fewer than `MIN_IMAGES` images; empty otherwise."""
    if count >= MIN_IMAGES:
        return ""
    warning = (
        f"Trained on {count} image{'' if count == 1 else 's'}: the corrective may not generalize to others. Connect "
        f"at least {MIN_IMAGES}; more is better."
    )
    log.warning("Train Manifold Corrective: %s", warning)
    return warning


def _checked_training(
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
    """The training job. Encodes the images once all inputs have passed their checks."""
    side = checks.check_corrective_training(model, negative, vae, images, patch_size)
    channels = host.latent_channels(model)
    form: Architecture | SpectralForm = SpectralForm(channels)
    if kind in HEADS:
        form = Architecture(channels, width, fitting_levels(side, levels), HEADS[kind])
    if corrective is not None:
        form = checks.check_trained_further(model, corrective, fit=kind == SPECTRAL)
        normalisation = corrective.about.statistics  # its weights were trained with these
    # Image by image, because a video VAE takes a batch for one video.
    latents = [vae.encode(image[None])[0] for batch in images for image in checks.color_channels(batch)]
    recipe = Recipe(steps, batch_size, learning_rate, seed, normalisation)
    return CorrectiveTraining(model, negative, latents, (side, side), form, recipe, corrective)


def _summary(trained: TrainedCorrective) -> str:
    about = trained.corrective.about
    size = f"patches of {about.size[1]}x{about.size[0]} latent cells"
    if trained.corrective.kind == "spectral":
        return f"Spectral corrective for {about.family}, {size}."
    status = progress_text(trained.losses, trained.rate)
    return f"Corrective for {about.family}, {size}: {about.steps} steps, {status}."


def _connections() -> list[io.Input]:
    return [
        io.Model.Input("model", tooltip="The model to train for. The corrective works with this model only."),
        io.Conditioning.Input("negative", tooltip="An empty prompt."),
        io.Vae.Input("vae", tooltip="The VAE that belongs to the model."),
        io.Image.Input(
            "images",
            tooltip="Training images of the kind the model knows, none smaller than patch_size: a batch, or a list "
            "with mixed sizes. At least 16; about 1000 is a good size.",
        ),
    ]


def _settings() -> list[io.Input]:
    return [
        io.Combo.Input(
            "kind",
            options=[*HEADS, SPECTRAL],
            default="residual network",
            tooltip="spectral: one gain per frequency, fitted without training steps. residual network: the paper's "
            "U-Net on top of a spectral fit, as good as spectral from the first step. network: the paper's U-Net "
            "alone; needs hundreds of thousands of steps.",
        ),
        io.Int.Input(
            "steps",
            default=5000,
            min=1,
            max=10_000_000,
            tooltip="Training steps, one model call each. Start with 5000; the paper uses 750000. spectral uses at "
            "most 256 with batch_size 16.",
        ),
        io.Int.Input(
            "batch_size",
            default=16,
            min=1,
            max=4096,
            tooltip="Images per step, as many as fit in memory. The paper uses 128.",
        ),
        io.Float.Input(
            "learning_rate",
            default=5e-4,
            min=1e-7,
            max=1.0,
            step=1e-5,
            round=False,
            tooltip="Learning rate of Adam. The paper uses 0.0001, with 150 times as many steps as the default.",
        ),
        io.Int.Input(
            "patch_size",
            default=512,
            min=8,
            max=16384,
            step=8,
            tooltip="The model's native resolution in pixels: 512 for SD1.5, 1024 for SDXL. Training crops random "
            "patches of this size, and lmc processes larger images in such patches.",
        ),
        widgets.seed("Seed of the initial weights, patches, noise levels and noise."),
        io.Int.Input(
            "width",
            default=32,
            min=4,
            max=256,
            optional=True,
            tooltip="Networks: filters of the first layer, doubled at each level. The paper uses 32.",
        ),
        io.Int.Input(
            "levels",
            default=4,
            min=1,
            max=6,
            optional=True,
            tooltip="Networks: number of downsampling levels, fewer if the patch is too small. The paper uses 4.",
        ),
        io.Combo.Input(
            "normalisation",
            options=list(STATISTICS),
            default=STATISTICS[0],
            optional=True,
            tooltip="Output normalization: as printed removes contrast (the paper's eq. 10), full also removes "
            "brightness, none disables it.",
        ),
        CORRECTIVE.Input(
            "corrective",
            optional=True,
            tooltip="A network to continue training for as many further steps. It keeps its own width, levels and "
            "normalisation.",
        ),
    ]
