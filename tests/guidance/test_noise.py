"""Seeded noise: every item, step and purpose has a stream of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from dreamsampler.guidance.core.noise import MAX_SEED, SeededNoise, derived_seed, item_seeds

HIGHEST = MAX_SEED - 1


def test_the_first_item_has_the_seed_itself():
    assert item_seeds(17, range(3))[0] == 17
    assert item_seeds(17, [5, 0]) == [item_seeds(17, range(6))[5], 17]


@pytest.mark.parametrize("places", [torch.arange(3), np.arange(3), [0.0, 1.0, 2.0]], ids=["torch", "numpy", "float"])
def test_places_of_any_kind_of_number_give_the_same_seeds(places: Any):
    assert item_seeds(17, places) == item_seeds(17, range(3))


def test_neighboring_seeds_share_no_stream():
    # PyTorch's generators on the CPU use the low 32 bits of a seed.
    seeds = [each % 2**32 for seed in (*range(100), HIGHEST) for each in item_seeds(seed, range(64))]
    assert len(set(seeds)) == len(seeds)


def test_streams_of_items_steps_and_substreams_differ():
    of_items = SeededNoise(item_seeds(3, range(4)))
    streams = [of_items, of_items.substream(1), of_items.substream(2), SeededNoise([derived_seed(3, "step", 1)])]
    rows = torch.cat([stream.like(torch.zeros(len(stream), 2)) for stream in streams])
    assert len({tuple(row) for row in rows.tolist()}) == 13


def test_derived_seeds_are_the_same_everywhere():
    assert item_seeds(0, [1, 2]) == [5417599447366235152, 8178197209849649939]
    assert all(0 <= derived_seed(HIGHEST, "item", i) < MAX_SEED for i in range(100))
