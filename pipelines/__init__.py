"""Pipelines of Kubeflow: training, prediction, and what compiles, draws and runs them."""
