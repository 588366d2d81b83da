"""What the Data Instance Prior is compared with, one method a file.

``labels`` conditions on labels made of the images themselves; ``ssgan`` and ``self_conditioned``
are `extra.Extra` for `train.train`. ``minegan``, ``bsa`` and ``glann`` put something in front of a
pretrained generator (``wrapped``), the last two without a discriminator.
"""
