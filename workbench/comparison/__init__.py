"""Comparisons: several methods on the same concepts, prompts, seeds and judge, in one run."""
