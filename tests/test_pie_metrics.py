"""What `benchmarks.pie` measures, against values worked out by hand and other implementations."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import folder_paths
import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn import functional as F

from benchmarks import pie_data, pie_metrics
from benchmarks.pie_data import BrokenEntry
from benchmarks.pie_metrics import Networks, Settings

STAND_INS = Networks(Settings(stand_in=True))
PROMPTS = ("a cat", "a dog")
TOKENIZER = Path(folder_paths.__file__).parent / "comfy" / "sd1_tokenizer"


def flat(value: int, height: int = 16, width: int = 16) -> Image.Image:
    return Image.new("RGB", (width, height), (value, value, value))


def noise(seed: int, height: int = 32, width: int = 48) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


# Masks


def test_mask_is_decoded_row_by_row_with_its_border():
    mask = pie_data.decoded([7, 2, 13, 1], 5, 6)
    assert mask[1:-1, 1:-1].astype(int).tolist() == [[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    assert mask[[0, -1]].all() and mask[:, [0, -1]].all()


def test_mask_ends_with_the_image():
    assert pie_data.decoded([14, 1000], 5, 6)[1:-1, 1:-1].astype(int).tolist() == [[0] * 4, [0, 1, 1, 1], [1] * 4]
    assert not pie_data.decoded([], 5, 6)[1:-1, 1:-1].any()


@pytest.mark.parametrize("pairs", [[1, 2, 3], [30, 1], [-1, 3], ["a", "b"], [[1, 2], [3]]])
def test_wrong_masks_are_refused(pairs: list):
    with pytest.raises(BrokenEntry, match="^The 'mask' .*[.]$"):
        pie_data.decoded(pairs, 5, 6)


def test_mask_can_be_an_image(tmp_path: Path):
    flat(0, 8, 8).save(tmp_path / "cat.png")
    Image.fromarray(np.pad(np.full((4, 2), 255, np.uint8), ((2, 2), (1, 5)))).save(tmp_path / "mask.png")
    facts = {"image_path": "cat.png", "original_prompt": "a [cat]", "editing_prompt": "a [dog]", "mask": "mask.png"}
    (tmp_path / pie_data.MAPPING).write_text(json.dumps({"cat": facts}))
    (entry,) = pie_data.read(tmp_path)
    entry.check()
    mask, digest = entry.mask(), entry.digest()
    assert mask is not None and mask.sum() == 8 and mask[2:6, 1:3].all()
    assert (entry.source_prompt, entry.target_prompt, entry.kind) == ("a cat", "a dog", "")
    flat(255, 8, 8).save(tmp_path / "mask.png")
    assert entry.digest() != digest

    hole = Image.open(pie_data.upload(entry, tmp_path / "made", 16, hole=True))
    assert hole.size == (16, 16) and not np.asarray(hole)[..., 3].any()
    assert pie_data.upload(entry, tmp_path / "made", None, hole=False) == tmp_path / "cat.png"


def test_uploads_have_sides_that_models_take():
    assert pie_data.fitting((512, 512), None) == (512, 512)
    assert pie_data.fitting((500, 333), None) == (496, 336)
    assert pie_data.fitting((1000, 500), 256) == (512, 256)


# Without networks


def measured(a: Image.Image, b: Image.Image, mask: np.ndarray | None = None) -> dict[str, float | None]:
    return pie_metrics.measured(a, b, mask, PROMPTS, STAND_INS)


def test_error_outside_counts_the_part_as_black():
    mask = np.zeros((16, 16), bool)
    mask[:, :4] = True  # a quarter
    source = flat(51)
    edited = Image.fromarray(np.where(mask[..., None], 255, np.full((16, 16, 3), 102, np.uint8)))
    found = measured(source, edited, mask)  # 0.2 and 0.4 outside, 1.0 inside
    outside = 0.75 * 0.2**2
    assert found["mse"] == pytest.approx(outside, rel=1e-5)
    assert found["psnr"] == pytest.approx(-10 * math.log10(outside), rel=1e-5)
    assert found["psnr_whole"] == pytest.approx(-10 * math.log10(outside + 0.25 * 0.8**2), rel=1e-5)


def test_equal_images_and_empty_parts_have_no_psnr():
    image = Image.fromarray(noise(0))
    found = measured(image, image)
    assert (found["mse"], found["psnr"], found["ssim"]) == (0, None, pytest.approx(1))
    assert (found["structure"], found["lpips"], found["clip_edited"]) == (0, 0, None)
    found = measured(image, image, np.ones((32, 48), bool))
    assert (found["mse"], found["psnr"], found["ssim"], found["lpips"]) == (None, None, None, None)
    assert found["clip_edited"] == found["clip"]


def test_ssim_of_flat_images_is_that_of_their_means():
    found = measured(flat(51), flat(204))
    assert found["ssim"] == pytest.approx((2 * 0.2 * 0.8 + 1e-4) / (0.2**2 + 0.8**2 + 1e-4), rel=1e-5)


def test_ssim_agrees_with_gaussian_filters_of_scipy():
    a, b = (np.moveaxis(noise(seed), -1, 0) / 255 for seed in (1, 2))
    b = 0.3 * b + 0.7 * a

    def smooth(values: np.ndarray) -> np.ndarray:
        filtered = [gaussian_filter(each, 1.5, truncate=3.5) for each in values]  # 11 x 11
        return np.stack(filtered)[:, 5:-5, 5:-5]

    mean_a, mean_b = smooth(a), smooth(b)
    va, vb, cov = smooth(a * a) - mean_a**2, smooth(b * b) - mean_b**2, smooth(a * b) - mean_a * mean_b
    c1, c2 = 1e-4, 9e-4
    expected = ((2 * mean_a * mean_b + c1) * (2 * cov + c2) / ((mean_a**2 + mean_b**2 + c1) * (va + vb + c2))).mean()
    assert pie_metrics.ssim(torch.from_numpy(a), torch.from_numpy(b)) == pytest.approx(expected, abs=1e-12)


def test_edits_of_another_size_are_resized():
    assert measured(flat(51, 16, 24), flat(51, 32, 48))["mse"] == 0


# With networks


def test_structure_distance_compares_angles_of_keys():
    keys = {0.0: torch.tensor([[1.0, 0.0], [0.0, 2.0]]), 1.0: torch.tensor([[3.0, 0.0], [1.0, 0.0]])}

    def of(image: Tensor) -> Tensor:
        return keys[image.item()]

    assert pie_metrics.structure_distance(of, torch.tensor(0.0), torch.tensor(1.0)) == pytest.approx(0.5)


def test_images_are_prepared_as_in_the_release():
    found = pie_metrics.prepared(torch.full((3, 512, 512), 0.5))
    expected = [(127.5 - mean) / deviation for mean, deviation in zip(pie_metrics.MEAN, pie_metrics.DEVIATION)]
    assert found.shape == (1, 3, 224, 224) and found[0, :, 7, 9].tolist() == pytest.approx(expected, rel=1e-5)
    assert pie_metrics.prepared(torch.zeros(3, 512, 2048)).shape == (1, 3, 120, 480)


def test_keys_are_those_of_the_last_layer(tmp_path: Path):
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, image_size=224, patch_size=8
    )
    model = transformers.ViTModel(config, add_pooling_layer=False).eval()
    model.save_pretrained(tmp_path / "dino")
    networks = Networks(Settings(dino=str(tmp_path / "dino")))
    image = torch.rand(3, 64, 96)
    with torch.inference_mode():
        keys = networks.get("structure")(image)
        seen = model(pie_metrics.prepared(image), output_hidden_states=True, interpolate_pos_encoding=True)
        last: Any = model.encoder.layer[-1]
        expected = last.attention.attention.key(last.layernorm_before(seen.hidden_states[-2]))[0]
    assert keys.shape == (1 + 28 * 42, 32) and torch.allclose(keys, expected, atol=1e-5)
    assert networks.names["structure"] == "dino" and not networks.problems


def test_clip_similarity_is_a_cosine(tmp_path: Path):
    torch.manual_seed(0)
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.CLIPConfig(
        text_config={**small, "vocab_size": 49408, "eos_token_id": 49407},
        vision_config={**small, "image_size": 32, "patch_size": 8},
        projection_dim=8,
    )
    model = transformers.CLIPModel(config).eval()
    tokenizer = transformers.CLIPTokenizer.from_pretrained(str(TOKENIZER))
    sizes: dict[str, Any] = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    processor: Any = transformers.CLIPProcessor(transformers.CLIPImageProcessor(**sizes), tokenizer)
    model.save_pretrained(tmp_path / "clip")
    processor.save_pretrained(tmp_path / "clip")
    networks = Networks(Settings(clip=str(tmp_path / "clip")))
    values = noise(3)
    similarity = networks.get("clip")
    assert not networks.problems
    with torch.inference_mode():
        seen = model.get_image_features(processor.image_processor(values, return_tensors="pt")["pixel_values"])
        for prompt in ("a red cat", "a blue dog on a chair"):
            read = model.get_text_features(**tokenizer(prompt, return_tensors="pt"))
            expected = max(0.0, 100 * F.cosine_similarity(seen, read).item())
            assert similarity(pie_metrics.pixels(Image.fromarray(values)), prompt) == pytest.approx(expected, abs=1e-3)
        long = similarity(pie_metrics.pixels(Image.fromarray(values)), "cat " * 200)
    assert 0 <= long <= 100


def test_missing_networks_are_told_and_left_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "torchmetrics", None)
    networks = Networks(Settings(clip="nobody/clip", dino="nobody/structure"))
    found = pie_metrics.measured(flat(0), flat(51), None, PROMPTS, networks)
    assert set(found) == {"psnr", "mse", "ssim", "psnr_whole"}
    assert networks.problems["lpips"].startswith("LPIPS needs torchmetrics, which cannot be imported")
    for kind, what in (("clip", "CLIP similarity"), ("structure", "The structure distance")):
        name = f"nobody/{kind}"
        assert networks.problems[kind].startswith(f"{what} needs {name}, which is not in the cache of Hugging Face.")
        assert networks.problems[kind].endswith(f"Run 'hf download {name}', or add --download.")


def test_stand_ins_see_differences():
    a, b = (Image.fromarray(noise(seed)) for seed in (4, 5))
    found, again, other = measured(a, b), measured(a, b), measured(a, a)
    assert found == again and set(found) == set(pie_metrics.METRICS)
    assert found["structure"] != 0 != found["lpips"] and other["structure"] == other["lpips"] == 0
    assert set(STAND_INS.names.values()) == {"stand-in"}
