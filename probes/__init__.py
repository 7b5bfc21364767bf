"""Features to concepts: which features carry a concept, and where words and features act in a picture.

This package knows tensors, callables, prompts and labels; never a pipeline.
"""
