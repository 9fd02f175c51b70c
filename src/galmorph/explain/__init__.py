"""Attributions, their pictures and the report."""
