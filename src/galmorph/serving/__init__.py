"""Answers without TensorFlow: the exported model, the runtime that it answers in, and the service around it."""
