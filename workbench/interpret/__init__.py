"""What a model's activations mean: which features carry a concept, what they are called, what they cause."""
