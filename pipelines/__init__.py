"""Pipelines for Kubeflow: training, prediction, and the commands that compile, draw, submit and try them."""
