from __future__ import annotations

import numpy as np
import torch

from synthbook.weights import efficientnet_lite0


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
