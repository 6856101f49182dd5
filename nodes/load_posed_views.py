"""Load Posed Views: images of a scene with the cameras that took them."""

from __future__ import annotations

import logging

import torch
from comfy_api.latest import io, ui
from torch import Tensor

from . import checks, host, widgets
from .sockets import CAMERAS

log = logging.getLogger("dreamsampler")


class LoadPosedViews(io.ComfyNode):
    """Loads a folder with a transforms.json."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return widgets.schema(
            node_id="DSLoadPosedViews",
            display_name="Load Posed Views",
            category="DreamSampler",
            description=(
                "Loads photos or renders of a scene with their cameras: a folder with a transforms.json by nerfstudio, "
                "instant-ngp or Blender. Can hold out views to judge a fit by."
            ),
            search_aliases="nerfstudio, instant-ngp, colmap, transforms.json, nerf dataset, camera poses, multi-view",
            has_intermediate_output=True,
            inputs=[
                io.Combo.Input(
                    "folder",
                    options=host.posed_view_folders(),
                    tooltip="A folder in ComfyUI's input folder that holds images and their transforms.json. Copy it "
                    "there and press R.",
                ),
                io.Int.Input(
                    "every",
                    default=1,
                    min=1,
                    max=1000,
                    tooltip="Load only each n-th view, in the file's order: 1 loads all, 10 a tenth.",
                ),
                io.Int.Input(
                    "hold_out",
                    default=8,
                    min=0,
                    max=1000,
                    tooltip="Hold out the first and each n-th loaded view after it, to judge a fit by. 8 is usual in "
                    "papers, 0 holds out none.",
                ),
                io.Int.Input(
                    "longest_side",
                    default=1024,
                    min=0,
                    max=16384,
                    tooltip="Scale larger images down to this longer side in pixels, with their cameras. 0 keeps the "
                    "size.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="images", tooltip="The views as a batch, white where they are transparent."
                ),
                CAMERAS.Output(display_name="cameras", tooltip="Their cameras, in the same order."),
                io.Image.Output(display_name="held_out_images", tooltip="The views that were held out."),
                CAMERAS.Output(display_name="held_out_cameras", tooltip="The cameras of the views held out."),
            ],
        )

    @classmethod
    def validate_inputs(cls, folder: str | None) -> bool | str:
        """Checks the name."""
        return checks.answer(host.posed_views_file, folder)

    @classmethod
    def fingerprint_inputs(cls, folder: str | None, **_: int | None) -> str:
        """The state of all files in the folder, or in all folders if the name comes from another node (None)."""
        return host.posed_views_versions(folder)

    @classmethod
    def execute(cls, folder: str, every: int, hold_out: int, longest_side: int) -> io.NodeOutput:
        with host.gradients():  # cameras that autograd accepts
            views = host.checked_views(folder, every, longest_side)
        held = [bool(hold_out) and i % hold_out == 0 for i in range(len(views))]
        if all(held):
            raise ValueError(
                f"hold_out is {hold_out}, so none of the {len(views)} views is left: raise it, or set it to 0 to hold "
                "out none."
            )
        images = torch.empty(len(views), views[0].camera.height, views[0].camera.width, 3)
        for place, view in zip(images, host.with_progress(views)):
            place.copy_(host.posed_image(view))
        summary = _summary(images, sum(held), max(view.bend for view in views))
        host.show_on_node(summary)
        log.info("Load Posed Views: %s: %s", folder, summary)
        mask = torch.tensor(held)
        cameras = tuple(tuple(view.camera for view, is_held in zip(views, held) if is_held == side) for side in (0, 1))
        none = host.blocked("Load Posed Views holds out no views: set its hold_out, for example to 8.")
        held_out = (images[mask], cameras[1]) if any(held) else (none, none)
        return io.NodeOutput(images[~mask], cameras[0], *held_out, ui=ui.PreviewText(summary))


def _summary(images: Tensor, held: int, bend: float) -> str:
    """How many views there are, and what was not done with them."""
    count, height, width, _ = images.shape
    lines = [f"{count} views of {width}x{height} pixels, {held} held out."]
    if bend > 0:
        lines.append(
            f"The lens distorts corners by up to {bend:.1f} pixels of the files, which is not corrected: undistort the "
            "images, for example with COLMAP, for a sharp fit."
        )
    return "\n\n".join(lines)
