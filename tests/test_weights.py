from __future__ import annotations

import numpy as np
import torch

from synthbook.weights import MEAN, STD, efficientnet_lite0


def test_it_knows_the_palace_and_the_flower():
    from sklearn.datasets import load_sample_images

    # ImageNet classes by number: palace 698, bell cote 442, monastery 663; daisy 985.
    model = efficientnet_lite0()
    for image, known in zip(load_sample_images().images, ({698, 442, 663}, {985}), strict=True):
        x = torch.from_numpy(image.copy()).permute(2, 0, 1)[None, :, :, 106:533].float() / 255
        x = torch.nn.functional.interpolate(x, (224, 224), mode="bicubic", antialias=True)
        with torch.inference_mode():
            best = model((x - MEAN) / STD)[0].topk(3).indices.tolist()
        assert best[0] in known


def test_the_architecture_is_that_of_the_weights():
    modules = list(efficientnet_lite0().modules())
    norms = [m for m in modules if isinstance(m, torch.nn.BatchNorm2d)]
    strided = [m for m in modules if isinstance(m, torch.nn.Conv2d) and m.stride == (2, 2)]
    assert {m.eps for m in norms} == {1e-3}
    assert {type(m).__name__ for m in strided} == {"Conv2dSame"}
    assert len(strided) == 5
    assert any(isinstance(m, torch.nn.ReLU6) for m in modules)


def test_other_heads_and_channels_keep_the_body_and_the_global_stream():
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 1, 32, 32))).float()
    state = torch.random.get_rng_state()
    one, same, other = (efficientnet_lite0(7, 1, seed=s) for s in (0, 0, 1))
    assert (torch.random.get_rng_state() == state).all()
    with torch.inference_mode():
        assert one(x).shape == (2, 7)
        assert (one(x) == same(x)).all()
        assert not torch.allclose(one(x), other(x))
        # A grey image gives what its three equal channels give to the colour network.
        grey, colour = efficientnet_lite0(0, 1)(x), efficientnet_lite0(0)(x.expand(2, 3, 32, 32))
    torch.testing.assert_close(grey, colour, rtol=1e-4, atol=1e-4)
