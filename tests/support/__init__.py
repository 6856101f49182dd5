"""Helpers that several tests share: oracles, tiny models, drawings, the page."""
