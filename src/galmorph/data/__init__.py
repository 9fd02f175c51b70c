"""Galaxies: where they come from, what is measured on them, how they are split, cleaned and fed to a model."""
