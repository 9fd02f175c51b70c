"""Architectures, training, and the model file."""
