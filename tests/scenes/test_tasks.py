"""The settings of the four tasks of scenes, as the help page of Splat Optimizer and the papers state them."""

from __future__ import annotations

from dreamsampler.scenes.tasks import DEFAULTS, SETTINGS


def test_tasks_have_the_papers_settings():
    """Except for the guidance scale and the times of restorations, see `tasks.DEFAULTS`."""
    methods = {name: (task.method, task.guidance_scale, task.geometry) for name, task in DEFAULTS.items()}
    assert methods == {
        "generate": ("sds", 100, 1.0),
        "sketch": ("sds", 100, 0.1),
        "edit": ("pds", 100, 1.0),
        "restore": ("sds", 2, 1.0),
    }
    loops = {
        name: (task.loop.time_schedule, task.loop.t_min, task.loop.t_max, task.loop.noise_policy, task.loop.weighting)
        for name, task in DEFAULTS.items()
    }
    assert loops == {
        "generate": ("uniform", 0.02, 0.98, "fresh", "1-alpha_bar"),
        "sketch": ("uniform", 0.02, 0.98, "fresh", "1-alpha_bar"),
        "edit": ("uniform", 0.02, 0.98, "fresh", "uniform"),
        "restore": ("descending", 0.02, 0.5, "fresh", "1-alpha_bar"),
    }


def test_new_scenes_learn_at_the_rates_of_dreamgaussian():
    rates = DEFAULTS["generate"].rates.of_size(0.5)
    assert (rates.positions, rates.final_positions) == (1e-3, 2e-5)
    assert (rates.log_scales, rates.rotations, rates.opacity_logits, rates.colors) == (5e-3, 5e-3, 5e-2, 1e-2)


def test_methods_have_their_papers_settings_in_3d():
    assert SETTINGS == {
        "bridge": {"guidance_scale": 1, "sds_stage": 0.8, "sds_guidance_scale": 100},
        "lmc": {"guidance_scale": 20},
    }
