"""What several papers share: text embeddings, the least-squares solver of the closed-form family."""
