"""Poses of photographs: read as three programs write them, and damaged or hostile files refused in a sentence."""

from __future__ import annotations

import json
import math
import tracemalloc
from typing import Any

import pytest
import torch
from dreamsampler.splats import looking_at
from dreamsampler.splats.transforms import LARGEST, TransformsError, read_transforms
from support.clock import refused_within
from torch import Tensor

EYE, AHEAD = (0.0, -4.0, 1.0), (0.0, 4.0, -1.0)


def matrix(eye: tuple[float, ...] = EYE, ahead: tuple[float, ...] = AHEAD) -> list[list[float]]:
    """The camera-to-world matrix of OpenGL of an upright camera at `eye` that looks `ahead`, in a world with z up."""
    back = -torch.nn.functional.normalize(torch.tensor(ahead, dtype=torch.float64), dim=0)
    right = torch.nn.functional.normalize(torch.linalg.cross(torch.tensor([0.0, 0, 1]).double(), back), dim=0)
    columns = torch.stack([right, torch.linalg.cross(back, right), back, torch.tensor(eye).double()], dim=1)
    return [*columns.tolist(), [0.0, 0.0, 0.0, 1.0]]


FRAME = {"file_path": "./train/r_0", "transform_matrix": matrix()}
BLENDER = {"camera_angle_x": 0.7, "frames": [FRAME]}


def content(frame: dict[str, Any] | None = None, **changed: Any) -> bytes:
    return json.dumps({**BLENDER, **changed, **({"frames": [{**FRAME, **frame}]} if frame else {})}).encode()


def seen(position: Tensor, axes: Tensor, point: tuple[float, float, float]) -> list[float]:
    """A point of the file's world, whose z is up, in the axes of the camera."""
    x, y, z = point
    return (axes @ (torch.tensor([x, -z, y], dtype=torch.float64) - position)).tolist()


def test_the_camera_sees_what_the_files_camera_sees():
    (pose,) = read_transforms(content({"transform_matrix": matrix((1.0, -4.0, 2.0), (0.0, 1.0, 0.0))}), "the file")
    # From in front of the object, level: what is 1 to the right, 3 up and 5 farther away.
    assert seen(pose.position, pose.axes, (1 + 1, -4 + 5, 2 + 3)) == pytest.approx([1, -3, 5])
    assert torch.linalg.det(pose.axes).item() == pytest.approx(1)


def test_the_camera_is_that_of_a_view_in_our_axes():
    (pose,) = read_transforms(content(), "the file")
    mine = looking_at(
        torch.tensor([0.0, -1, -4]).double(), torch.zeros(3).double(), fov=math.degrees(0.7), width=400, height=400
    )
    camera = pose.camera(400, 400)
    torch.testing.assert_close((camera.position, camera.axes), (mine.position, mine.axes))
    assert camera.focal == pytest.approx(mine.focal) and camera.center == mine.center


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_scaled_matrices_are_rotations(scale: float):
    rows = [[scale * v for v in row[:3]] + row[3:] for row in matrix()]
    (pose,) = read_transforms(content({"transform_matrix": rows[:3]}), "the file")
    torch.testing.assert_close(pose.axes @ pose.axes.mT, torch.eye(3).double())
    assert pose.position.tolist() == [0, -1, -4]


NGP = {"fl_x": 500.0, "fl_y": 510.0, "cx": 300.0, "cy": 220.0, "w": 640.0, "h": 480, "camera_angle_x": 1.0}


def test_intrinsics_in_pixels_come_before_angles_and_follow_the_size():
    (pose,) = read_transforms(content(**NGP), "the file")
    camera = pose.camera(320, 240)
    assert camera.focal == (250, 255) and camera.center == (150, 110) and (camera.width, camera.height) == (320, 240)


def test_a_frame_has_intrinsics_of_its_own():
    frame = {"camera_angle_x": math.pi / 2, "w": 100, "h": 50}
    (pose,) = read_transforms(content(frame, **{**NGP, "fl_y": None, "cx": None, "cy": None}), "the file")
    camera = pose.camera(100, 50)
    assert camera.focal == pytest.approx((50, 50)) and camera.center == (50, 25)


def test_both_angles_are_used():
    (pose,) = read_transforms(content(camera_angle_x=math.pi / 2, camera_angle_y=2 * math.atan(0.5)), "the file")
    assert pose.camera(100, 60).focal == pytest.approx((50, 60))


def test_every_nth_frame_is_read_in_the_files_order():
    frames = [{**FRAME, "file_path": f"images\\{i}.JPG"} for i in (3, 1, 2, 5, 4)]
    assert [pose.file for pose in read_transforms(content(frames=frames), "f", 2)] == [
        f"images/{i}.JPG" for i in (3, 2, 4)
    ]
    assert read_transforms(content(), "f")[0].file == "train/r_0.png"


def test_the_lens_is_measured_in_pixels():
    (pose,) = read_transforms(content(k1=0.1, p1=0.0, **NGP), "the file")
    camera = pose.camera(640, 480)
    x, y = 340 / 500, 260 / 510  # of the farthest corner
    r = x * x + y * y
    assert pose.bend(camera) == pytest.approx(0.1 * r * math.hypot(340, 260))
    assert read_transforms(content(), "f")[0].bend(camera) == 0


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def with_entry(value: Any) -> dict[str, Any]:
    rows = matrix()
    rows[1][2] = value
    return {"transform_matrix": rows}


REFUSED = {
    "not JSON": (b"{", "is not JSON"),
    "no text": (b"\xff\xfe\xff", "is not JSON"),
    "nested": (nested(90_000), "is nested too deep"),
    "huge": (b" " * (LARGEST + 1), "more than 8,000,000"),
    "many lists": (b"[" + b"[]," * 2_000_000 + b"[]]", "more than 200,000 lists"),
    "many frames": (b'{"frames": [' + b"{}," * 100_000 + b"{}]}", "more than 2,000: raise every"),
    "digits": (b'{"frames": ' + b"1" * 100_000 + b"}", "is not JSON"),
    "a list": (b"[]", "holds a list, not an object"),
    "a number": (b"5", "holds a int, not an object"),
    "no frames": (content(frames=[]), "has no frames"),
    "frames of another type": (content(frames={"0": FRAME}), "has no frames"),
    "a frame of another type": (content(frames=[FRAME, 5]), "frame 2 is not an object"),
    "no path": (content({"file_path": None}), "frame 1 has no file_path"),
    "a path with a null": (content({"file_path": "a\0.png"}), "has no file_path"),
    "a long path": (content({"file_path": "a" * 2000}), "has no file_path"),
    "absolute": (content({"file_path": "/etc/passwd"}), "has the absolute path '/etc/passwd'"),
    "absolute on Windows": (content({"file_path": "C:\\a.png"}), "has the absolute path"),
    "a share": (content({"file_path": "\\\\host\\share\\a.png"}), "has the absolute path"),
    "outside": (content({"file_path": "images/../../a.png"}), "is outside the folder"),
    "outside on Windows": (content({"file_path": "..\\a.png"}), "is outside the folder"),
    "a video": (content({"file_path": "walk.MP4"}), "is the video 'walk.MP4': extract its frames"),
    "another format": (content({"file_path": "a.exr"}), "[.]exr files are not read"),
    "no matrix": (content({"transform_matrix": None}), "has no transform_matrix of 4 rows"),
    "a short matrix": (content({"transform_matrix": matrix()[:2]}), "has no transform_matrix of 4 rows"),
    "NaN": (content(with_entry(math.nan)), "NaN, infinite or no numbers"),
    "infinite": (content(with_entry(math.inf)), "NaN, infinite or no numbers"),
    "text": (content(with_entry("1")), "NaN, infinite or no numbers"),
    "a large number": (content(with_entry(10**400)), "NaN, infinite or no numbers"),
    "skewed": (content(with_entry(0.9)), "is no rotation"),
    "zero": (content({"transform_matrix": [[0.0] * 4] * 3}), "is no rotation"),
    "mirrored": (content({"transform_matrix": [[-row[0], *row[1:]] for row in matrix()]}), "is no rotation"),
    "transposed": (content({"transform_matrix": [*map(list, zip(*matrix()))]}), "is it transposed"),
    "no focal length": (content(camera_angle_x=None), "has no focal length"),
    "a wide angle": (content(camera_angle_x=3.2), "has camera_angle_x 3.2, which is not a number between 0 and 3.14"),
    "no length": (content(fl_x=0), "has fl_x 0, which is not a number between 0 and"),
    "a size of text": (content(w="640"), "has w 640, which is not a number"),
    "a distortion of NaN": (content(k1=math.nan), "has k1 nan, which is not a number"),
    "fisheye": (content(camera_model="OPENCV_FISHEYE"), "of the model OPENCV_FISHEYE, and only pinhole"),
    "fisheye of instant-ngp": (content(is_fisheye=True), "of the model fisheye, and only pinhole"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_damaged_and_hostile_files_are_refused_quickly(name: str):
    given, words = REFUSED[name]
    said = refused_within(2, lambda: read_transforms(given, "fox.json"), TransformsError, f"^fox.json .*{words}")
    assert said.endswith((".", "?")) and "\n" not in said and len(said) < 400


@pytest.mark.parametrize("name", ["many lists", "many frames", "nested"])
def test_small_files_do_not_fill_the_memory(name: str):
    tracemalloc.start()
    with pytest.raises(TransformsError):
        read_transforms(REFUSED[name][0], "fox.json")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50_000_000


def test_an_image_of_other_proportions_is_refused():
    (pose,) = read_transforms(content(**NGP), "the file")
    with pytest.raises(TransformsError, match="the image 'train/r_0.png' is 640x360 pixels, but .* 640x480: use the"):
        pose.camera(640, 360)
    assert pose.camera(321, 240).width == 321  # rounded
