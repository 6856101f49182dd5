"""The mask of Proximal DreamSampler: what it keeps, what it edits, and the shapes it accepts."""

from __future__ import annotations

import pytest
import torch
from support.host_oracle import assert_differs, assert_kept, halves
from support.tiny_models import (
    EPS,
    QWEN,
    SD3,
    Calls,
    Family,
    V,
    edit,
    encoded,
    measure,
    photo,
    restore,
    tiny,
    tiny_vae,
)
from torch import Tensor

families = pytest.mark.parametrize("family", [EPS, V, SD3, QWEN], ids=str)


def left(size: int = 64, columns: int | None = None) -> Tensor:
    """A MASK (1, size, size) of the left half, or of the first `columns`."""
    mask = torch.zeros(1, size, size)
    mask[..., : size // 2 if columns is None else columns] = 1
    return mask


@families
@pytest.mark.parametrize("start_from", ["inversion", "noise"])
@pytest.mark.parametrize("size", [64, 8], ids=["pixels", "cells"])
def test_keeps_the_source_outside_and_edits_inside(family: Family, start_from: str, size: int):
    model, source = tiny(family), encoded(family, 2)
    edited, _ = edit(model, source, mask=left(size), start_from=start_from, eta=0.5)
    (inside, outside), (before, kept) = halves(edited["samples"]), halves(source["samples"])
    assert_kept(outside, kept)
    assert (inside - before).std() > 0.1 * before.std()


@families
def test_soft_masks_blend_source_and_edit(family: Family):
    model, source = tiny(family), encoded(family, 2)

    def change(value: float) -> torch.Tensor:
        """Of the first image; the mask of the second is full, because a noise mask must not be empty."""
        mask = torch.tensor([value, 1.0]).reshape(2, 1, 1, 1).expand(-1, 1, 8, 8)
        return (edit(model, {**source, "noise_mask": mask})[0]["samples"] - source["samples"])[0].std()

    moved = [change(value) for value in (0.0, 0.25, 0.5, 1.0)]
    assert moved[0] < 1e-5 and all(less < 0.9 * more for less, more in zip(moved, moved[1:]))


@families
def test_full_mask_matches_no_mask(family: Family):
    model, source = tiny(family), encoded(family)
    for masked, free in zip(edit(model, source, mask=torch.ones(1, 64, 64)), edit(model, source)):
        assert torch.equal(masked["samples"], free["samples"])


@families
def test_each_image_uses_its_own_mask(family: Family):
    model, source = tiny(family), encoded(family, 2)
    edited, _ = edit(model, source, mask=torch.cat([left(), 1 - left()]))
    for i, mask in enumerate((left(), 1 - left())):
        alone, _ = edit(model, encoded(family, seed=i), mask=mask)
        scale = alone["samples"].std().item()
        torch.testing.assert_close(edited["samples"][i : i + 1], alone["samples"], rtol=0, atol=2e-4 * scale)
    assert_kept(halves(edited["samples"])[1][0], halves(source["samples"])[1][0])
    assert_kept(halves(edited["samples"])[0][1], halves(source["samples"])[0][1])


@families
def test_noise_mask_is_used_if_no_mask_is_connected(family: Family):
    model, source = tiny(family), encoded(family)
    noise_mask = left()[:, None]  # the shape from Set Latent Noise Mask
    given, own = edit(model, source, mask=left())[0], edit(model, {**source, "noise_mask": noise_mask})[0]
    assert torch.equal(given["samples"], own["samples"])
    assert own["noise_mask"] is noise_mask
    other, _ = edit(model, {**source, "noise_mask": noise_mask}, mask=1 - left())
    assert_kept(halves(other["samples"])[0], halves(source["samples"])[0])
    assert (halves(other["samples"])[1] - halves(source["samples"])[1]).std() > 0.1 * source["samples"].std()


@families
def test_mask_resolution_does_not_matter(family: Family):
    model, source = tiny(family), encoded(family)
    results = [edit(model, source, mask=left(size))[0]["samples"] for size in (8, 16, 64)]
    for result in results[1:]:
        torch.testing.assert_close(result, results[0], rtol=1e-5, atol=1e-5)


def test_mask_without_batch_dimension_or_beyond_0_to_1_is_accepted():
    model, source = tiny(SD3), encoded(SD3)
    expected, _ = edit(model, source, mask=left())
    actual, _ = edit(model, source, mask=3 * left()[0] - 1)
    assert torch.equal(actual["samples"], expected["samples"])


SPLICED = pytest.mark.parametrize(("family", "kind"), [(V, "kl"), (SD3, "taesd-16"), (QWEN, "wan")], ids=str)


@SPLICED
def test_output_image_has_the_pixels_of_the_source_outside(family: Family, kind: str):
    source, mask = photo(2), left(columns=20)
    made = restore(tiny(family), tiny_vae(kind), encoded(family, 2), None, mask=mask, source_image=source)
    assert torch.equal(made.image[:, :, 20 + 8 :], source[:, :, 20 + 8 :])
    plain = restore(tiny(family), tiny_vae(kind), encoded(family, 2), None, mask=mask)
    assert torch.equal(made.samples, plain.samples)
    assert_differs(made.image[:, :, 28:], plain.image[:, :, 28:])
    # Inside, the edit differs from the decoded one by a smooth membrane alone.
    shift = (made.image - plain.image)[:, 8:-8, 2:14]
    inside = (made.image > 0.02) & (made.image < 0.98)
    rough = (shift.diff(dim=1).abs() * inside[:, 8:-8, 2:14][:, 1:]).max()
    assert rough < 0.2 and made.image.min() >= 0 and made.image.max() <= 1


@SPLICED
def test_the_noise_mask_of_the_latent_splices_too(family: Family, kind: str):
    latent = {**encoded(family), "noise_mask": left()[:, None]}
    made = restore(tiny(family), tiny_vae(kind), latent, None, source_image=photo())
    assert torch.equal(made.image[:, :, 40:], photo()[:, :, 40:])


REFUSED = {
    "no mask": ({}, "source_image keeps what is outside a mask, and there is none"),
    "no VAE": ({"mask": left(), "vae": None}, "source_image is for the output image, which needs a VAE"),
    "size": ({"mask": left(), "source_image": photo(size=48)}, "source_image is 48x48 pixels.*decodes to 64x64"),
    "count": ({"mask": left(), "source_image": photo(3)}, "source_image holds 3 images but latent_image holds 1"),
    "measurement": (
        {"measurement": measure(photo(), "gaussian blur")[0]},
        "source_image belongs to edits and measurement to restorations",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_source_image_is_checked_before_sampling(name: str):
    options, words = REFUSED[name]
    options = {"vae": tiny_vae("kl"), "measurement": None, "source_image": photo(), **options}
    calls = Calls()
    with pytest.raises(ValueError, match=words):
        restore(calls.watch(tiny(V)), latent=encoded(V), **options)
    assert not calls.batches
