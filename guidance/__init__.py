"""Diffusion models as priors to optimize against: pure PyTorch, without ComfyUI.

Each wing exports its public names; inside, a wing imports only those before it:

    core          noising path, denoiser, prior, seeded noise, DDIM, DDPM
    prompts       target and source prompts of Bridge, masks for regional prompts
    networks      manifold correctives, translators, and their files
    editing       DreamSampler's proximal edit
    restoration   degradation operators, solvers, DreamSampler's restoration
    distillation  score distillation: one loop, one file per objective

Start with `core`: a model is any `Denoiser`, with the `NoisePath` SCALED or FLOW of its family.
"""
