"""Edits that sample: DreamSampler's proximal edit along an inverted trajectory."""
