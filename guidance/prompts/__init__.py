"""Prompts: which source and target to distil between, and where in the image each one acts."""
