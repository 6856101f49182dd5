"""Splats and cameras from files, and the sockets that they share with ComfyUI's own nodes."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from comfy_api.latest import io
from dreamsampler.nodes import host
from dreamsampler.splats.scene import Scene
from support.splats import ball
from torch import Tensor

HOST_HAS_SPLATS = hasattr(io, "Splat")


def scene(count: int, coefficients: int = 1) -> Scene:
    return ball(count, coefficients=coefficients, dtype=torch.float32)


# The socket


def test_a_splat_has_the_attributes_of_the_newer_hosts():
    value = host.splat_value([scene(5, coefficients=4), scene(3)])
    shapes = {name: tuple(getattr(value, name).shape) for name in ("positions", "scales", "rotations", "opacities")}
    assert shapes == {"positions": (2, 5, 3), "scales": (2, 5, 3), "rotations": (2, 5, 4), "opacities": (2, 5, 1)}
    assert value.sh.shape == (2, 5, 4, 3) and value.counts.tolist() == [5, 3]
    torch.testing.assert_close(value.scales[0], scene(5).log_scales.exp())
    torch.testing.assert_close(value.rotations[0].norm(dim=-1), torch.ones(5))
    torch.testing.assert_close(value.opacities[0, :, 0], scene(5).opacity_logits.sigmoid())
    assert host.splat_value([scene(3), scene(3)]).counts is None
    assert host.SPLAT.io_type == "SPLAT" and (isinstance(value, host.SPLAT.Type) if HOST_HAS_SPLATS else True)


@torch.inference_mode()
def test_scenes_come_back_from_a_splat():
    scenes = [scene(5, coefficients=4), scene(3)]
    for mine, back in zip(scenes, host.splat_scenes("splat", host.splat_value(scenes)), strict=True):
        torch.testing.assert_close(back.positions, mine.positions)
        torch.testing.assert_close(back.log_scales, mine.log_scales)
        torch.testing.assert_close(back.opacity_logits, mine.opacity_logits)
        torch.testing.assert_close(back.axes(), mine.axes())
        torch.testing.assert_close(back.harmonics[:, : mine.harmonics.shape[1]], mine.harmonics)
        assert not back.harmonics[:, mine.harmonics.shape[1] :].any()


def parts(count: int = 2, scenes: int = 1, **changed: Any) -> Any:
    """A value with the attributes of a splat, as another pack's class may have them."""
    shapes = {"positions": (3,), "scales": (3,), "rotations": (4,), "opacities": (1,), "sh": (1, 3)}
    values = {name: torch.ones(scenes, 1, *shape).expand(-1, count, *shape) for name, shape in shapes.items()}
    return SimpleNamespace(**{**values, "counts": None, **changed})


def bad(*shape: int, value: float = 0.0) -> Tensor:
    return torch.full(shape, value)


REFUSED = {
    "another type": ("a splat", "is not a valid splat, its type is str: connect Load Splat"),
    "half": (SimpleNamespace(positions=bad(1, 2, 3)), "is not a valid splat"),
    "no scenes": (parts(scenes=0), "has a scene without splats"),
    "no splats": (parts(count=0), "has a scene without splats"),
    "empty scene": (parts(scenes=2, counts=torch.tensor([2, 0])), "has a scene without splats"),
    "counts": (parts(counts=torch.tensor([3])), "its counts do not fit"),
    "counts NaN": (parts(counts=torch.tensor([float("nan")])), "its counts do not fit"),
    "counts of more": (parts(counts=torch.tensor([2, 2])), "its counts do not fit"),
    "no batch": (parts(positions=bad(2, 3)), "positions have the wrong shape 2x3"),
    "number": (parts(positions=bad()), "positions have the wrong shape"),
    "opacities": (parts(opacities=bad(1, 2)), "opacities have the wrong shape 1x2 for positions of the shape 1x2x3"),
    "sh": (parts(sh=bad(1, 2, 5, 3)), "sh have the wrong shape 1x2x5x3"),
    "NaN": (parts(scales=bad(1, 2, 3, value=float("nan"))), "contains NaN or infinite values in scales"),
    "infinite": (parts(positions=bad(1, 2, 3, value=float("inf"))), "contains NaN or infinite values in positions"),
    "many": (parts(count=10_000_000), "has 10,000,000 splats, more than 5,000,000"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_splat_is_refused_in_a_sentence(name: str):
    value, words = REFUSED[name]
    start = time.perf_counter()
    with pytest.raises(ValueError, match="^Input 'scene' .*[.]$") as refusal:
        host.splat_scenes("scene", value)
    assert words in str(refusal.value) and time.perf_counter() - start < 1


def test_padding_is_not_looked_at():
    value = parts(count=3, counts=torch.tensor([2]))
    value.positions = value.positions.clone()
    value.positions[0, 2] = float("nan")
    assert [len(each) for each in host.splat_scenes("splat", value)] == [2]
