"""Generative adversarial networks: networks, losses and the training loop."""
