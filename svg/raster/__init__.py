"""Drawings to pictures, differentiably: scenes of tensors, their outlines, coverage, paint and compositing."""
