"""Janus and Janus-Pro: one language model that reads the prompt and writes the picture, token by token."""
