"""Reading activations: while prompts run, into stores, and with autoencoders in their place."""
