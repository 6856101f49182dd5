"""Trained networks: the U-Net, manifold correctives, translators, and how their files are read and written."""
