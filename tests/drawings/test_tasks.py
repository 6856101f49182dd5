"""The settings of the four SVG tasks."""

from __future__ import annotations

import pytest
from dreamsampler.drawings.styles import ART_STYLES
from dreamsampler.drawings.tasks import DEFAULTS, learning_rates, restoration_weights
from dreamsampler.guidance.restoration.operators import Colorization, GaussianBlur, MotionBlur, SuperResolution


def test_restorations_have_the_papers_weights():
    assert restoration_weights(SuperResolution(64, 64, 8)) == (1.0, 4.0)
    assert restoration_weights(GaussianBlur(64, 64, 61, 5.0)) == (2.4, 3.0)
    assert restoration_weights(MotionBlur(64, 64, 9, 30.0)) == (2.4, 3.0)
    assert restoration_weights(Colorization(64, 64)) == (1.0, 4.0)


def test_tasks_have_the_papers_settings():
    """Except for the guidance scale of restorations, see `tasks.DEFAULTS`."""
    assert all(task.loop.steps == 1000 for task in DEFAULTS.values())
    guidance = {name: task.guidance_scale for name, task in DEFAULTS.items()}
    assert guidance == {"draw": 100, "refine": 100, "edit": 100, "restore": 7.5}
    draw, edit, restore = (DEFAULTS[name].loop for name in ("draw", "edit", "restore"))
    assert (draw.t_min, draw.t_max, draw.weighting) == (0.05, 0.95, "1-alpha_bar")
    assert (edit.t_min, edit.t_max) == (0.1, 0.98)
    assert (restore.time_schedule, restore.noise_policy) == ("descending", "estimated")


def test_only_point_rates_scale_with_the_canvas():
    style = ART_STYLES["iconography"]
    full_size, half_size = (learning_rates("restore", style, (side, side)).at(0.5) for side in (600, 300))
    assert full_size["points"] == pytest.approx(0.2) and full_size["color"] == pytest.approx(0.01)
    assert half_size["points"] == pytest.approx(0.1) and half_size["color"] == pytest.approx(0.01)
    assert learning_rates("edit", style, (600, 600)).at(0.0)["points"] == pytest.approx(0.8)
    assert learning_rates("draw", style, (600, 600)).times(2).at(0.5)["color"] == pytest.approx(0.02)
