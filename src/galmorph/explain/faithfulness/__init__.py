"""Scores of explanations: whether they are true of the model, and whether the model looks at the galaxy."""
