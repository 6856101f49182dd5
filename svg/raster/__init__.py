"""Differentiable rasterization of documents: scenes of tensors, outlines, coverage, paint and compositing."""
