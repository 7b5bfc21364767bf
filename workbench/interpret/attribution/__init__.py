"""Where words and features act in a model, and what they do there. The arithmetic is in `probes.attribution`."""
