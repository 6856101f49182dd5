"""The shipped translator of the reference model: it is of its kind, and makes of circles what it says."""

from __future__ import annotations

import torch
from dreamsampler.nodes import host

from tools.reference import corrective, in_process, translator

COUNT, SEED = 12, 70_000
"""Circles that were not trained on."""


def test_is_small_enough_for_the_repository():
    assert translator.TRANSLATOR.stat().st_size < corrective.LARGEST


def test_is_of_the_models_kind_and_makes_what_it_says():
    reference, learned = in_process.load(), host.TRANSLATORS.read_file(translator.TRANSLATOR)
    about = learned.about
    assert (about.family, about.channels) == (host.family(reference.model), 4)
    assert list(about.targets) == list(translator.TARGETS)
    scorer, shapes = in_process.load_scorer(), {}
    with torch.inference_mode():
        circles = in_process.pictures(translator.scenes(COUNT, SEED))
        sources = reference.latent(circles)["samples"]
        for target in translator.TARGETS:
            made = reference.decoded({"samples": learned(sources, target)})
            shapes[target] = sum(seen["shape"] == target for seen in scorer.read(made)) / COUNT
    print("share of circles that became the target:", shapes)
    assert min(shapes.values()) > 0.8
