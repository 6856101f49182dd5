"""Optimizing scenes of Gaussian splats: cameras to look through, learning rates, losses, tasks."""
