"""Splats and cameras from files, and the sockets that they share with ComfyUI's own nodes."""

from __future__ import annotations

import json
import math
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import comfy.model_management
import folder_paths
import numpy as np
import pytest
import torch
from comfy_api.latest import io
from comfy_client import PromptRefused
from comfy_execution.graph_utils import ExecutionBlocker
from comfy_server import ComfyServer
from dreamsampler.nodes import host
from dreamsampler.nodes.load_posed_views import LoadPosedViews
from dreamsampler.nodes.load_splat import LoadSplat
from dreamsampler.nodes.orbit_cameras import OrbitCameras
from dreamsampler.nodes.save_splat import SaveSplat
from dreamsampler.splats import Camera, orbit, read_splats, render, write_ply
from dreamsampler.splats.harmonics import from_colors
from dreamsampler.splats.scene import Scene
from PIL import Image
from support.clock import refused_within
from support.host_oracle import progress_hook
from support.node_texts import shown_text
from support.splats import ball
from support.svg_nodes import imported
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
    said = refused_within(1, lambda: host.splat_scenes("scene", value), ValueError, "^Input 'scene' .*[.]$")
    assert words in said


def test_padding_is_not_looked_at():
    value = parts(count=3, counts=torch.tensor([2]))
    value.positions = value.positions.clone()
    value.positions[0, 2] = float("nan")
    assert [len(each) for each in host.splat_scenes("splat", value)] == [2]


# Load Splat


@pytest.fixture
def inputs(tmp_path: Path) -> Iterator[Path]:
    """ComfyUI's input folder, with files outside of it in the parent folder."""
    before = folder_paths.get_input_directory()
    folder = tmp_path / "input"
    folder.mkdir()
    (tmp_path / "outside.ply").write_bytes(write_ply(scene(2)))
    folder_paths.set_input_directory(str(folder))
    yield folder
    folder_paths.set_input_directory(before)


@torch.inference_mode()
def loaded(name: str) -> Scene:
    (found,) = host.splat_scenes("splat", LoadSplat.execute(name).args[0])
    return found


def test_a_scene_is_loaded_from_the_input_folder(inputs: Path):
    (inputs / "in").mkdir()
    (inputs / "in" / "ball.ply").write_bytes(write_ply(scene(1234, coefficients=16)))
    output = LoadSplat.execute("in/ball.ply")
    assert shown_text(output) == "1,234 splats, color of degree 3."
    torch.testing.assert_close(loaded("in/ball.ply").harmonics, scene(1234, coefficients=16).harmonics)
    torch.testing.assert_close(output.args[0].scales[0], scene(1234).scales)


def test_a_dot_splat_file_is_loaded(inputs: Path):
    record = struct.pack("<6f8B", 1, 2, 3, 0.1, 0.2, 0.3, 255, 0, 51, 204, 255, 128, 128, 128)
    (inputs / "two.splat").write_bytes(record * 2)
    assert loaded("two.splat").positions.tolist() == [[1, 2, 3]] * 2


def test_files_of_splats_in_the_input_folder_are_listed(inputs: Path):
    for name in ("b.ply", "A.SPLAT", "image.png", "ply", "c.ply.txt"):
        (inputs / name).write_bytes(b"")
    assert host.input_splat_names() == ["A.SPLAT", "b.ply"]


NAMES = {
    "../outside.ply": "is not in ComfyUI's input folder: put the file there",
    "{folder}/outside.ply": "is not in ComfyUI's input folder",
    "none.ply": "ComfyUI's input folder has no file 'none.ply': upload it, or choose another.",
    "bal.ply": "Did you mean 'ball.ply'?",
    "image.png": "'image.png' is not an .ply or .splat file: choose one, or convert it to .ply.",
}


@pytest.mark.parametrize("name", NAMES)
def test_other_names_are_rejected_before_reading(inputs: Path, name: str):
    for file in ("ball.ply", "image.png"):
        (inputs / file).write_bytes(b"")
    given = name.format(folder=inputs.parent)
    message = LoadSplat.validate_inputs(given)
    assert isinstance(message, str) and NAMES[name] in message
    for method in (LoadSplat.fingerprint_inputs, LoadSplat.execute):
        assert str(pytest.raises(ValueError, method, given).value) == message


def test_a_changed_file_is_loaded_again(inputs: Path):
    (inputs / "ball.ply").write_bytes(write_ply(scene(2)))
    first = [LoadSplat.fingerprint_inputs(name) for name in ("ball.ply", None)]
    assert [LoadSplat.fingerprint_inputs(name) for name in ("ball.ply", None)] == first
    (inputs / "ball.ply").write_bytes(write_ply(scene(3)))
    assert all(LoadSplat.fingerprint_inputs(name) != one for name, one in zip(("ball.ply", None), first, strict=True))


GAPS = b"ply\nformat binary_little_endian 1.0\n"
PLAIN = b"element vertex %d\n" + b"".join(b"property double a%d\n" % i for i in range(900)) + b"end_header\n"
HOSTILE = {
    "a huge header": (b"ply\n" + b"comment " * 10_000, 10**10, "has no header of a .ply in its first 65536 bytes"),
    "a list": (GAPS + b"element vertex 3\nproperty list uchar int x\nend_header\n", 10**10, "that splats do not have"),
    "too many": (write_ply(scene(1)).replace(b"vertex 1", b"vertex 10000000"), 10**10, "10,000,000 splats, more than"),
    "too many without a header": (b"\0" * 64, 32 * 10**7, "10,000,000 splats, more than 5,000,000"),
    "too wide": (GAPS + PLAIN % 5_000_000, 10**11, "needs 36.0 GB of memory"),
    "a promise": (write_ply(scene(1)).replace(b"vertex 1", b"vertex 4000000"), 10**6, "ends early"),
    "an odd size": (b"\0" * 64, 10**10 + 1, "its size is not a multiple of 32"),
    "no bytes": (b"", 0, "has no splats"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_before_it_is_read(inputs: Path, name: str):
    head, size, words = HOSTILE[name]
    with (inputs / "bad.ply").open("wb") as file:
        file.write(head)
        file.truncate(max(size, len(head)))  # sparse: nothing on the disk
    assert words in refused_within(2, lambda: LoadSplat.execute("bad.ply"), ValueError, "^The file 'bad.ply' .*[.]$")


# Save Splat


def saved(*scenes: Scene, prefix: str = "splats/ball") -> list[Path]:
    with torch.inference_mode():
        output = SaveSplat.execute(host.splat_value(scenes), prefix)
    found: Any = output.ui
    assert found["text"] == (f"Saved as {', '.join(each['filename'] for each in found['3d'])}.",)
    return [Path(folder_paths.get_output_directory(), each["subfolder"], each["filename"]) for each in found["3d"]]


def test_scenes_are_saved_under_numbers_and_never_over_a_file(own_folders: Path):
    one, two = saved(scene(3, coefficients=4), scene(2))
    assert (one.name, two.name) == ("ball_00001_.ply", "ball_00002_.ply") and one.parent.name == "splats"
    torch.testing.assert_close(read_splats(one.read_bytes(), "one").log_scales, scene(3).log_scales)
    before = one.read_bytes()
    assert saved(scene(4))[0].name == "ball_00003_.ply" and one.read_bytes() == before


def test_two_that_save_at_the_same_time_both_keep_their_file(own_folders: Path, monkeypatch: pytest.MonkeyPatch):
    folder = own_folders / "output"
    folder.mkdir()
    found = folder_paths.get_save_image_path

    def other_is_faster(*given: Any) -> Any:
        place = found(*given)
        (folder / "ball_00001_.ply").write_bytes(b"other")
        return place

    monkeypatch.setattr(folder_paths, "get_save_image_path", other_is_faster)
    assert [path.name for path in saved(scene(2), prefix="ball")] == ["ball_00002_.ply"]
    assert (folder / "ball_00001_.ply").read_bytes() == b"other"


def test_a_full_disk_leaves_nothing_behind(own_folders: Path, monkeypatch: pytest.MonkeyPatch):
    def full(path: Path, content: bytes) -> int:
        with path.open("wb") as file:
            file.write(content[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(host.UnwritableFileError, match="cannot be written .* No space left on device. Free disk"):
        saved(scene(2))
    assert not any(path.is_file() for path in own_folders.rglob("*"))


PREFIXES = {
    "": "needs a name to be saved",
    "splats/": "needs a name to be saved",
    "../ball": "'../ball' is outside ComfyUI's output folder",
    "/ball": "'/ball' is outside ComfyUI's output folder",
    "a\nb": "has the character '\\n'",
    "a" * 300: "is too long",
}


@pytest.mark.parametrize("prefix", PREFIXES)
def test_an_unusable_name_is_refused_before_the_splat_is_made(own_folders: Path, prefix: str):
    message = SaveSplat.validate_inputs(prefix)
    assert isinstance(message, str) and PREFIXES[prefix] in message
    for act in (
        lambda: SaveSplat.check_lazy_status(prefix),
        lambda: SaveSplat.execute(host.splat_value([scene(1)]), prefix),
    ):
        assert str(pytest.raises(ValueError, act).value) == message
    assert SaveSplat.check_lazy_status("ball") == ["splat"] and not own_folders.joinpath("output").exists()


# Orbit Cameras

ORBIT: dict[str, Any] = {
    "count": 4, "elevation": 0.0, "distance": 3.0, "fov": 60.0, "width": 80, "height": 40,
    "target_x": 0.0, "target_y": 0.0, "target_z": 0.0,
}  # fmt: skip


@torch.inference_mode()
def cameras(**changed: Any) -> tuple[Camera, ...]:
    return OrbitCameras.execute(**{**ORBIT, **changed}).args[0]


def test_cameras_go_around_the_target_from_the_front():
    found = cameras(target_x=1.0, target_y=2.0, target_z=3.0)
    target = torch.tensor([1.0, -2.0, -3.0]).double()  # the host's y points up and its z to the viewer
    offsets = torch.tensor([[0.0, 0, -3], [3, 0, 0], [0, 0, 3], [-3, 0, 0]]).double()
    for camera, offset in zip(found, offsets, strict=True):
        torch.testing.assert_close(camera.position, target + offset)
        torch.testing.assert_close(camera.axes[2], -offset / 3)
        torch.testing.assert_close(camera.axes[1], torch.tensor([0.0, 1, 0]).double())
        assert camera.focal == pytest.approx((20 / math.tan(math.pi / 6),) * 2)
        assert (camera.width, camera.height) == (80, 40)
        assert not camera.axes.is_inference()
    assert cameras(elevation=30.0)[0].position[1].item() == pytest.approx(-1.5)  # above


# Load Posed Views

WHITE_TO_RED = [[(255, 0, 0, 255), (255, 0, 0, 0)], [(0, 0, 0, 255), (0, 0, 0, 0)]]
FRONT = [[1.0, 0, 0, 0], [0, 0, -1, -4], [0, 1, 0, 0], [0, 0, 0, 1]]
"""A camera in front, level, in the axes of the file."""


def views(
    folder: Path, count: int = 3, *, file: str = "transforms.json", size: tuple[int, int] = (8, 4), **changed: Any
):
    """Write gray images with cameras at growing distances, and a transforms.json that `changed` adds to."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    frames = []
    for i in range(count):
        Image.new("RGB", size, (20 * i,) * 3).save(folder / "images" / f"{i}.png")
        pose = [[*row[:3], row[3] * (1 + i)] for row in FRONT]
        frames.append({"file_path": f"images/{i}.png", "transform_matrix": [*pose[:3], FRONT[3]]})
    content = {"camera_angle_x": math.pi / 2, "frames": frames, **changed}
    (folder / file).write_text(json.dumps(content))


@torch.inference_mode()
def posed(folder: str = "fox", every: int = 1, hold_out: int = 0, longest_side: int = 0) -> tuple[Any, ...]:
    output = LoadPosedViews.execute(folder, every, hold_out, longest_side)
    return *output.args, shown_text(output)


def test_views_come_with_their_cameras(inputs: Path):
    views(inputs / "fox")
    images, found, held_images, held_cameras, text = posed()
    assert images.shape == (3, 4, 8, 3) and images[:, 0, 0, 0].tolist() == pytest.approx([0, 20 / 255, 40 / 255])
    assert [camera.position.tolist() for camera in found] == [[0, 0, -4], [0, 0, -8], [0, 0, -12]]
    assert found[0].focal == pytest.approx((4, 4)) and not found[0].axes.is_inference()
    assert all(isinstance(each, ExecutionBlocker) for each in (held_images, held_cameras))
    assert text == "3 views of 8x4 pixels, 0 held out."


def test_what_is_rendered_with_a_scene_is_seen_with_its_loaded_camera(inputs: Path):
    """An image of a splat, its camera written as Blender does, and the same image with the camera that was read."""
    angle = math.radians(35)
    c, s = math.cos(angle), math.sin(angle)
    rows = [[c, 0, s, 4 * s], [s, 0, -c, -4 * c], [0, 1, 0, 0], [0, 0, 0, 1]]  # around z, by 35 degrees to the right
    views(inputs / "fox", 1, size=(32, 24), frames=[{"file_path": "images/0", "transform_matrix": rows}])
    (found,) = posed()[1]
    fov = math.degrees(2 * math.atan(12 / 16))
    mine = orbit(azimuth=35, elevation=0, distance=4, fov=fov, width=32, height=24)
    torch.testing.assert_close(render(scene(20), found).color, render(scene(20), mine).color)


def test_views_are_chosen_and_held_out(inputs: Path):
    views(inputs / "fox", 10)
    images, found, held_images, held_cameras, text = posed(every=2, hold_out=3)
    number = lambda image: round(image[0, 0, 0].item() * 255 / 20)  # noqa: E731
    assert [number(image) for image in images] == [2, 4, 8] and [number(image) for image in held_images] == [0, 6]
    assert [-camera.position[2].item() / 4 - 1 for camera in found] == [2, 4, 8]
    assert [-camera.position[2].item() / 4 - 1 for camera in held_cameras] == [0, 6]
    assert text.startswith("5 views of 8x4 pixels, 2 held out.")


def test_transparent_pixels_become_white_and_large_images_smaller(inputs: Path):
    views(inputs / "fox", 1, size=(2, 2))
    Image.fromarray(np.array(WHITE_TO_RED, np.uint8)).save(inputs / "fox" / "images" / "0.png")
    assert posed()[0][0].tolist() == [[[1, 0, 0], [1, 1, 1]], [[0, 0, 0], [1, 1, 1]]]
    images, (camera,), *_ = posed(longest_side=1)
    assert images.flatten().tolist() == pytest.approx([0.75, 0.5, 0.5], abs=0.003)
    assert camera.focal == pytest.approx((0.5, 0.5)) and camera.center == (0.5, 0.5)


def test_sixteen_bits_of_gray_are_read(inputs: Path):
    views(inputs / "fox", 1, size=(2, 2))
    Image.fromarray(np.full((2, 2), 32768, np.uint16)).save(inputs / "fox" / "images" / "0.png")
    assert posed()[0].unique().tolist() == pytest.approx([0.5], abs=0.003)


def test_the_lens_is_told_of(inputs: Path):
    views(inputs / "fox", k1=0.01)
    assert "The lens distorts corners by up to 0.1 pixels of the files, which is not corrected" in posed()[-1]


def test_folders_with_poses_are_listed(inputs: Path):
    views(inputs / "fox", 1)
    views(inputs / "synthetic" / "lego", 1, file="transforms_train.json")
    (inputs / "images").mkdir()
    (inputs / "images" / "other.json").write_text("{}")
    assert host.posed_view_folders() == ["fox", "synthetic/lego"]
    assert posed("synthetic/lego")[0].shape == (1, 4, 8, 3)


FOLDERS = {
    "../fox": "is not in ComfyUI's input folder",
    "empty": "has no folder 'empty' with a transforms.json",
    "foxx": "Did you mean 'fox'?",
    "": "has no folder '' with a transforms.json",
}


@pytest.mark.parametrize("name", FOLDERS)
def test_other_folders_are_rejected(inputs: Path, name: str):
    views(inputs / "fox", 1)
    views(inputs.parent / "fox", 1)
    (inputs / "empty").mkdir()
    message = LoadPosedViews.validate_inputs(name)
    assert isinstance(message, str) and FOLDERS[name] in message
    for act in (lambda: LoadPosedViews.fingerprint_inputs(name), lambda: posed(name)):
        assert str(pytest.raises(ValueError, act).value) == message


def test_changed_images_are_loaded_again(inputs: Path):
    views(inputs / "fox")

    def fingerprints() -> list[str]:
        return [LoadPosedViews.fingerprint_inputs(name, every=1) for name in ("fox", None)]

    before = fingerprints()
    assert fingerprints() == before
    for file in ("images/1.png", "transforms.json"):
        os.utime(inputs / "fox" / file, ns=(1, 1))
        after = fingerprints()
        assert all(new != old for new, old in zip(after, before, strict=True)), file
        before = after


def broken(change: Any) -> Any:
    """A change of the folder after it was written."""
    return lambda folder: change(folder / "images")


LENS: dict[str, Any] = {"w": 80, "h": 80}
FAULTS: dict[str, tuple[Any, str]] = {
    "missing": (
        broken(lambda images: [(images / f"{i}.png").unlink() for i in (1, 2)]),
        "'images/1.png', nor 1 others",
    ),
    "another size": (broken(lambda images: Image.new("RGB", (9, 4)).save(images / "2.png")), "'images/2.png' is 9x4"),
    "no image": (
        broken(lambda images: (images / "2.png").write_bytes(b"hello")),
        "'images/2.png' cannot be read as PNG",
    ),
    "a folder": (broken(lambda images: ((images / "2.png").unlink(), (images / "2.png").mkdir())), "no image"),
    "a camera of another size": (lambda folder: views(folder, **LENS), "'images/0.png' is 8x4 pixels, but its camera"),
    "not JSON": (lambda folder: (folder / "transforms.json").write_text("{"), "'fox/transforms.json' is not JSON"),
    "outside": (lambda folder: views(folder, frames=[{"file_path": "../a.png"}]), "which is outside the folder"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faulty_folders_are_refused_before_an_image_is_decoded(
    inputs: Path, name: str, monkeypatch: pytest.MonkeyPatch
):
    change, words = FAULTS[name]
    views(inputs / "fox")
    change(inputs / "fox")
    monkeypatch.setattr(Image.Image, "convert", lambda *_: pytest.fail("an image was decoded"))
    with pytest.raises(ValueError, match="^The f(older|ile) 'fox") as refusal:
        posed()
    assert words in str(refusal.value) and str(refusal.value).endswith(".")


def png(width: int, height: int) -> bytes:
    """The start of a PNG of this size, as of a bomb."""
    header = b"IHDR" + struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)
    parts = (
        b"\x89PNG\r\n\x1a\n",
        struct.pack(">I", 13),
        header,
        struct.pack(">I", zlib.crc32(header)),
        b"\0\0\0\x08IDAT",
    )
    return b"".join(parts)


@pytest.mark.parametrize(
    ("size", "count", "words"),
    [
        ((60_000, 60_000), 1, "'images/0.png' has more than 100 million pixels: scale all images down"),
        ((9_000, 9_000), 10, "views of 9000x9000 pixels take 9 GiB of memory, more than 8: lower longest_side"),
    ],
)
def test_images_that_would_fill_the_memory_are_refused(inputs: Path, size: tuple[int, int], count: int, words: str):
    views(inputs / "fox", count)
    for i in range(count):
        (inputs / "fox" / "images" / f"{i}.png").write_bytes(png(*size))
    with pytest.raises(ValueError) as refusal:
        posed()
    assert words in str(refusal.value)


def test_a_damaged_image_is_named(inputs: Path):
    views(inputs / "fox", size=(64, 64))
    image = inputs / "fox" / "images" / "1.png"
    image.write_bytes(image.read_bytes()[:60])
    with pytest.raises(ValueError, match="^The image 'images/1.png' is damaged: .*[.] Export or copy it again[.]$"):
        posed()


def test_numbers_of_views_are_checked(inputs: Path):
    views(inputs / "fox")
    with pytest.raises(ValueError, match="^Input 'every' is 0: set it to a number from 1 to"):
        posed(every=0)
    with pytest.raises(ValueError, match="^Input 'hold_out' is -1: set it to a number from 0 to"):
        posed(hold_out=-1)
    with pytest.raises(ValueError, match="^hold_out is 1, so none of the 3 views is left: raise it"):
        posed(hold_out=1)


def test_loading_can_be_canceled(inputs: Path):
    views(inputs / "fox", 4)
    seen = []

    def cancel(value: int, *_: Any, **__: Any) -> None:
        seen.append(value)
        comfy.model_management.interrupt_current_processing(value == 2)

    with progress_hook(cancel), pytest.raises(host.Cancelled):
        posed()
    assert seen == [1, 2]


# A real server


def test_a_server_runs_the_nodes_and_loads_changed_files_again(server: ComfyServer):
    folder, client = server.workdir / "input", server.client
    views(folder / "fox", 2)

    def name(value: str) -> dict[str, Any]:
        return {"class_type": "PrimitiveString", "inputs": {"value": value}}

    prompt = {
        "file": name("ball.ply"),
        "prefix": name("splats/server"),
        "folder": name("fox"),
        "load": {"class_type": "DSLoadSplat", "inputs": {"file": ["file", 0]}},
        "save": {"class_type": "DSSaveSplat", "inputs": {"splat": ["load", 0], "filename_prefix": ["prefix", 0]}},
        "views": {
            "class_type": "DSLoadPosedViews",
            "inputs": {"folder": ["folder", 0], "every": 1, "hold_out": 0, "longest_side": 0},
        },
        "show": {"class_type": "PreviewImage", "inputs": {"images": ["views", 0]}},
    }
    if HOST_HAS_SPLATS:
        widgets = {"width": 64, "height": 64, "frames": 1, "splat_scale": 1.0, "sharpen": 1.0, "headlight_shading": 0.0}
        more = {"opacity_threshold": 0.0, "render_style": "color", "background": "#000000", "splat": ["load", 0]}
        prompt["render"] = {"class_type": "RenderSplat", "inputs": {**widgets, **more}}
        prompt["seen"] = {"class_type": "PreviewImage", "inputs": {"images": ["render", 0]}}
    for count in (2, 3):
        (folder / "ball.ply").write_bytes(write_ply(scene(count)))
        views(folder / "fox", count)
        result = client.run(prompt)
        (file,) = result.files(key="3d", node_id="save")
        assert file.filename == f"server_{count - 1:05}_.ply" and len(result.files(node_id="show")) == count
        assert len(read_splats(client.fetch(file), "saved")) == count
        assert len(result.files(node_id="seen")) == HOST_HAS_SPLATS
    outside = {"load": {"class_type": "DSLoadSplat", "inputs": {"file": "../a.ply"}}}
    with pytest.raises(PromptRefused, match="'../a.ply' is not in ComfyUI's input folder"):
        client.run({"prefix": prompt["prefix"], "save": prompt["save"], **outside})


# ComfyUI's own nodes

newer = pytest.mark.skipif(not HOST_HAS_SPLATS, reason="needs a ComfyUI with nodes for splats")


@newer
@pytest.mark.parametrize(
    ("yaw", "pitch", "target"), [(0, 0, (0.0, 0.0, 0.0)), (140, -35, (0.2, 0.3, -0.1))], ids=["front", "behind"]
)
def test_the_hosts_render_agrees(yaw: int, pitch: int, target: tuple[float, float, float]):
    theirs = imported("comfy_extras.nodes_gaussian_splat")
    colors = torch.eye(3)
    small = Scene.activated(
        torch.tensor([[0.7, 0.0, 0.0], [0.0, -0.6, 0.0], [0.0, 0.1, -0.7]]),
        torch.tensor([[0.1, 0.1, 0.2]]).expand(3, 3),
        torch.tensor([[1.0, 0.0, 0.0, 0.0]]).expand(3, 4),
        torch.full((3,), 0.95),
        from_colors(colors),
    )
    target_of_mine = dict(zip(("target_x", "target_y", "target_z"), target, strict=True))
    count, place = 360 // math.gcd(360, yaw or 360), yaw // math.gcd(360, yaw or 360)
    camera = cameras(
        count=count, elevation=float(pitch), distance=4.0, fov=40.0, width=96, height=64, **target_of_mine
    )[place]
    view = render(small, camera)
    mode = {"mode": "orbit", "yaw": yaw, "pitch": pitch, "distance": 4}
    info = theirs.CreateCameraInfo.execute(mode, *target, 0, 40).args[0]
    widgets = 96, 64, 1, 1.0, 1.0, 0.0, 0.0, "#000000", "color"
    with torch.inference_mode():
        image, mask = theirs.RenderSplat.execute(host.splat_value([small]), *widgets, camera_info=info).args
    assert (mask[0] - view.alpha[0]).abs().mean() < 0.01 and mask[0].max() > 0.9
    rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(96.0), indexing="ij")
    for mine, other in zip(view.color.detach(), image[0].movedim(-1, 0), strict=True):
        for where in (rows, columns):
            centers = [float((where * each).sum() / each.sum()) for each in (mine, other)]
            assert abs(centers[0] - centers[1]) < 1


@newer
def test_files_pass_between_both(inputs: Path, own_folders: Path):
    theirs, types = imported("comfy_extras.nodes_gaussian_splat"), imported("comfy_api.latest").Types
    mine = scene(5, coefficients=9)
    file = types.File3D(str(saved(mine)[0]))
    back = theirs.File3DToSplat.execute(file).args[0]
    (again,) = host.splat_scenes("splat", back)
    torch.testing.assert_close(again.harmonics, mine.harmonics)
    torch.testing.assert_close(again.log_scales, mine.log_scales)
    torch.testing.assert_close(again.axes(), mine.axes())
    written = theirs.SplatToFile3D.execute(host.splat_value([mine]), "ply").args[0]
    written.save_to(str(inputs / "theirs.ply"))
    torch.testing.assert_close(loaded("theirs.ply").opacities, mine.opacities)
    torch.testing.assert_close(loaded("theirs.ply").harmonics, mine.harmonics)
