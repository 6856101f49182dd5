"""The shipped translator belongs to the reference model and turns circles into its targets."""

from __future__ import annotations

import torch
from dreamsampler.nodes import host

from tools.reference import corrective, in_process, translator

COUNT, SEED = 12, 70_000
"""Circles outside the training set."""


def test_translator_is_small_enough_for_the_repository():
    assert translator.TRANSLATOR.stat().st_size < corrective.LARGEST


def test_translator_matches_the_model_and_reaches_its_targets(reference: in_process.Reference):
    shipped = host.TRANSLATORS.read_file(translator.TRANSLATOR)
    about = shipped.about
    assert (about.family, about.channels) == (host.family(reference.model), 4)
    assert list(about.targets) == list(translator.TARGETS)
    scorer, rates = in_process.load_scorer(), {}
    with torch.inference_mode():
        circles = in_process.render(translator.scenes(COUNT, SEED))
        sources = reference.latent(circles)["samples"]
        for target in translator.TARGETS:
            translated = reference.decoded({"samples": shipped(sources, target)})
            rates[target] = sum(seen["shape"] == target for seen in scorer.read(translated)) / COUNT
    print("fraction of circles that became the target:", rates)
    assert min(rates.values()) > 0.8
