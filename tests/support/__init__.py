"""Helpers shared by several tests: oracles, tiny models, drawings and the page."""
