"""Generative adversarial networks: networks by name, losses, DiffAugment, transfer, one loop.

``networks.create_generator`` and ``create_discriminator`` make a pair, ``transfer.transfer`` gives
it first weights, ``recipes`` says how to train it, ``train.train`` does, ``sampling.sample`` draws.
``prior`` makes conditions of images' features, and ``baselines`` is what it is compared with.
"""
