"""Diffusion models as priors to optimize against: pure PyTorch, without ComfyUI.

Each package exports its public names. `core` comes first; `prompts`, `networks` and `editing` build on it alone,
`restoration` on those, and `distillation` on all:

    core          noising path, denoiser, prior, seeded noise, DDIM, DDPM
    prompts       target and source prompts of Bridge, masks for regional prompts
    networks      manifold correctives, translators, and their files
    editing       DreamSampler's proximal edit
    restoration   degradation operators, solvers, DreamSampler's restoration
    distillation  score distillation: one loop, one file per objective

Start with `core`: a model is any `Denoiser`, with the `NoisePath` SCALED or FLOW of its family.
"""
