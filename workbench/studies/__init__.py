"""Studies: a hypothesis about a part of a model, put to a test that it can fail."""
