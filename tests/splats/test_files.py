"""Files of splats: read as written, and damaged or hostile ones refused in a sentence."""

from __future__ import annotations

import struct
import tracemalloc

import numpy as np
import pytest
import torch
from dreamsampler.splats.files import SplatFileError, read_splats, write_ply
from dreamsampler.splats.scene import Scene
from support.clock import refused_within
from support.splats import ball

SMALL = write_ply(ball(3, coefficients=4, dtype=torch.float32))


@pytest.mark.parametrize("coefficients", [1, 4, 9, 16])
def test_ply_is_read_as_it_was_written(coefficients: int):
    scene = ball(7, coefficients=coefficients, dtype=torch.float32)
    again = read_splats(write_ply(scene), "ball.ply")
    for one, other in zip(scene.parameters, again.parameters, strict=True):
        assert torch.equal(one, other)


def test_coefficients_are_listed_by_channel():
    scene = ball(1, coefficients=4, dtype=torch.float32)
    body = np.frombuffer(write_ply(scene).split(b"end_header\n", 1)[1], "<f4")
    assert np.array_equal(body[9:18], scene.harmonics[0, 1:].T.flatten().numpy())


def test_splat_file_has_its_documented_values():
    record = struct.pack("<6f8B", 1, 2, 3, 0.1, 0.2, 0.3, 255, 0, 51, 204, 128, 255, 128, 128)
    scene = read_splats(record * 2, "two.splat")
    assert len(scene) == 2 and scene.positions[1].tolist() == [1, 2, 3]
    torch.testing.assert_close(scene.scales[0], torch.tensor([0.1, 0.2, 0.3]))
    torch.testing.assert_close(scene.opacities[0], torch.tensor(0.8))
    torch.testing.assert_close(scene.rotations[0], torch.tensor([0, 127 / 128, 0, 0]))
    colors = 0.5 + 0.28209479177387814 * scene.harmonics[0, 0]
    torch.testing.assert_close(colors, torch.tensor([1.0, 0.0, 0.2]))


def test_other_types_and_elements_are_read():
    scene = ball(2, dtype=torch.float32)
    names = write_ply(scene).split(b"end_header\n", 1)[0].replace(b"property float", b"property double")
    values = np.frombuffer(write_ply(scene).split(b"end_header\n", 1)[1], "<f4").astype("<f8").tobytes()
    content = names + b"element face 1\nproperty list uchar int vertex_indices\nend_header\n" + values + b"\0" * 13
    assert torch.equal(read_splats(content, "double.ply").positions, scene.positions)


def changed(old: bytes, new: bytes) -> bytes:
    assert old in SMALL
    return SMALL.replace(old, new)


REFUSED = {
    "cut": (SMALL[:-1], "ends early: its header promises 3 splats"),
    "many": (changed(b"vertex 3", b"vertex 90000000000000000000"), "more than 5,000,000"),
    "digits": (changed(b"vertex 3", b"vertex " + b"9" * 9000), "more than 5,000,000"),
    "none": (changed(b"vertex 3", b"vertex 0"), "has no splats"),
    "negative": (changed(b"vertex 3", b"vertex -3"), "does not begin with vertices"),
    "ascii": (changed(b"binary_little_endian", b"ascii"), "export it as binary"),
    "list": (changed(b"property float nx", b"property list uchar int nx"), "has a property that splats do not have"),
    "type": (changed(b"property float nx", b"property quad nx"), "property quad nx"),
    "twice": (changed(b"property float ny", b"property float nx"), "property float nx"),
    "mesh": (
        b"ply\nformat binary_little_endian 1.0\nelement vertex 1\nproperty float x\nproperty float y\n"
        b"property float z\nend_header\n" + b"\0" * 12,
        "is a mesh or point cloud, not Gaussian splats: it has no f_dc_0",
    ),
    "coefficients": (changed(b"f_rest_8", b"f_more_8"), "has 8 coefficients"),
    "coefficient": (changed(b"f_rest_0", b"f_rest_9"), "has 9 coefficients f_rest .* but no f_rest_0: export it again"),
    "scales": (SMALL[:-28] + struct.pack("<f", 100.0) + SMALL[-24:], r"has scales above exp\(88\)"),
    "no header": (b"ply\n" + b"comment " * 100_000, "has no header"),
    "not finite": (SMALL[:-104] + struct.pack("<f", float("nan")) + SMALL[-100:], "has NaN or infinite positions"),
    "empty": (b"", "has no splats"),
    "odd": (b"\0" * 33, "its size is not a multiple of 32"),
    "image": (b"\x89PNG" + b"\0" * 63, "is no .ply"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_damaged_and_hostile_files_are_refused_quickly(name: str):
    content, words = REFUSED[name]
    tracemalloc.start()
    refused_within(2, lambda: read_splats(content, "fox.ply"), SplatFileError, f"fox.ply .*{words}|fox.ply {words}")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000_000


def test_written_values_are_those_a_viewer_reads():
    scene = Scene.activated(
        torch.tensor([[1.0, 2, 3]]), torch.tensor([[0.5, 1.0, 2.0]]), torch.tensor([[1.0, 0, 0, 0]]),
        torch.tensor([0.5]), torch.zeros(1, 1, 3),
    )  # fmt: skip
    header, body = write_ply(scene).split(b"end_header\n", 1)
    names = [line.split()[-1].decode() for line in header.splitlines() if line.startswith(b"property")]
    values = dict(zip(names, np.frombuffer(body, "<f4"), strict=True))
    assert [values[f"scale_{i}"] for i in range(3)] == pytest.approx(np.log([0.5, 1.0, 2.0]), abs=1e-6)
    assert values["opacity"] == pytest.approx(0, abs=1e-6) and values["rot_0"] == 1
