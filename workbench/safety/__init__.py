"""Safety of a text-to-image model and of its edits, after T2ISafety: fairness, toxicity and privacy, task by task."""
