"""First weights from another network, and frozen blocks."""

from __future__ import annotations

import pytest
import torch

from synthbook.errors import InputError
from synthbook.gans.networks import load, save
from synthbook.gans.transfer import freeze, transfer

CLASSES = {"num_classes": 3}


@pytest.mark.parametrize(("name", "settings"), [("sngan", CLASSES), ("stylegan2", {})])
def test_equal_networks_transfer_whole(name, settings, tmp_path, pair):
    first, network = (pair(name, seed=k, **settings)[0] for k in (0, 1))
    save(first, tmp_path)
    assert transfer(network, load(tmp_path)) == []
    for key, value in network.state_dict().items():
        assert torch.equal(value, first.state_dict()[key])
    assert all(p.requires_grad for p in network.parameters())


def test_tensors_are_matched_by_name_and_shape_and_the_rest_is_named(pair):
    first, _ = pair("stylegan2", 16)
    network, _ = pair("stylegan2", 32, seed=1, latent=7)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    kept = transfer(network, first, skip=["first_image"])
    assert {name.partition(".")[0] for name in kept} == {"mapping", "first_image", "blocks"}
    assert "mapping.layers.0.weight" in kept  # of another shape
    assert all(name in kept for name in before if name.startswith(("blocks.32.", "first_image.")))
    # At 16 pixels the larger network is twice as wide as the other, at 4 and 8 equally.
    assert "blocks.8.conv1.conv.weight" not in kept
    assert "blocks.16.conv1.conv.weight" in kept
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name] if name in kept else first.state_dict()[name]), name


def test_weights_that_do_not_fit_are_refused(pair):
    network, _ = pair("sngan")
    with pytest.raises(InputError, match="none of the"):
        transfer(network, {"weight": torch.ones(2)})
    with pytest.raises(InputError, match="no tensor 'embedding' to leave out"):
        transfer(network, network, skip=["embedding"])


@pytest.mark.parametrize(
    ("name", "settings", "blocks"), [("sngan", CLASSES, 3), ("stylegan2", {}, 2)]
)
def test_frozen_tensors_stay_and_the_others_move(name, settings, blocks, pair):
    _, discriminator = pair(name, 16, **settings)
    frozen = freeze(discriminator, blocks)
    before = {key: value.clone() for key, value in discriminator.state_dict().items()}
    trainable = [p for p in discriminator.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trainable, lr=0.1)
    for _ in range(3):
        labels = torch.tensor([0, 1, 2, 0]) if name == "sngan" else None
        loss = discriminator(torch.randn(4, 3, 16, 16), labels).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    moved = [k for k, v in discriminator.state_dict().items() if not torch.equal(v, before[k])]
    assert frozen
    assert not {*moved} & {*frozen}
    weights = {n for n, p in discriminator.named_parameters() if p.requires_grad}
    assert weights <= {*moved}
    # Only the running vector of a single number, which is 1, may stand still besides.
    assert all(before[key].numel() == 1 for key in {*before} - {*moved} - {*frozen})


def test_frozen_blocks_are_those_next_to_the_image(pair):
    _, style = pair("stylegan2", 16)
    names = freeze(style, 1)
    assert {n.split(".")[0] for n in names} == {"from_image", "blocks"}
    assert {n.split(".")[1] for n in names if n.startswith("blocks")} == {"16"}
    _, sngan = pair("sngan")
    assert freeze(sngan, 0) == []
    with pytest.raises(InputError, match="5 blocks cannot be frozen; the discriminator has 4"):
        freeze(sngan, 5)
