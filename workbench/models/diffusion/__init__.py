"""Diffusion pipelines: noise, latents, guidance branches, and the tables of sites of each family."""
