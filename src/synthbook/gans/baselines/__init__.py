"""What the Data Instance Prior is compared with, one method a file.

``labels`` conditions on labels made of the images themselves; ``ssgan`` and ``self_conditioned``
are `extra.Extra` for `train.train`.
"""
