"""First weights from another network, and frozen blocks."""

from __future__ import annotations

import pytest
import torch

from synthbook.errors import InputError
from synthbook.gans.networks import create_discriminator, create_generator, load, save
from synthbook.gans.transfer import freeze, transfer

SNGAN = {
    "image_size": 16, "channels": 4, "discriminator_channels": 4, "latent": 5, "embedding": 6,
    "num_classes": 3,
}  # fmt: skip
STYLE = {
    "image_size": 16, "channels": 4, "widest": 8, "latent": 5, "style": 6, "mapping_layers": 2,
}  # fmt: skip


@pytest.mark.parametrize(("name", "settings"), [("sngan", SNGAN), ("stylegan2", STYLE)])
def test_equal_networks_transfer_whole(name, settings, tmp_path):
    source, network = (create_generator(name, seed=k, **settings) for k in (0, 1))
    save(source, tmp_path)
    report = transfer(network, load(tmp_path))
    assert not report.left
    assert not report.unused
    for key, value in network.state_dict().items():
        assert torch.equal(value, source.state_dict()[key])
        assert key in report.transferred
    assert all(p.requires_grad for p in network.parameters())
    assert str(report) == f"{len(report.transferred)} of {len(report.transferred)} tensors " + (
        "transferred"
    )


def test_tensors_are_matched_by_name_and_shape_and_the_rest_is_named():
    source = create_generator("stylegan2", seed=0, **STYLE)
    network = create_generator("stylegan2", seed=1, **{**STYLE, "image_size": 32, "latent": 7})
    before = {name: value.clone() for name, value in network.state_dict().items()}
    report = transfer(network, source, skip=["first_image"])
    assert report.other_shape["mapping.layers.0.weight"] == ((6, 7), (6, 5))
    assert any(name.startswith("blocks.32.") for name in report.missing)
    assert set(report.skipped) == {n for n in before if n.startswith("first_image.")}
    # At 16 pixels the larger network is twice as wide as the source, at 4 and 8 equally.
    assert "blocks.8.conv1.conv.weight" in report.transferred
    assert "blocks.16.conv1.conv.weight" in report.other_shape
    after = network.state_dict()
    for name in report.left:
        assert torch.equal(after[name], before[name]), name
    for name in report.transferred:
        assert torch.equal(after[name], source.state_dict()[name]), name
    assert {*report.left, *report.transferred} == set(before)
    text = str(report)
    assert "mapping.layers.0.weight [6, 7] from [6, 5]" in text
    assert "left out: first_image" in text


def test_weights_that_do_not_fit_are_refused():
    network = create_generator("sngan", **SNGAN)
    with pytest.raises(InputError, match="are of a 'stylegan2' and the network is a 'sngan'"):
        transfer(network, create_generator("stylegan2", **STYLE))
    with pytest.raises(InputError, match="none of the"):
        transfer(network, {"weight": torch.ones(2)})
    with pytest.raises(InputError, match="no tensor 'embedding' to leave out"):
        transfer(network, network, skip=["embedding"])


@pytest.mark.parametrize(
    ("name", "settings", "blocks"), [("sngan", SNGAN, 3), ("stylegan2", STYLE, 2)]
)
def test_frozen_tensors_stay_and_the_others_move(name, settings, blocks):
    discriminator = create_discriminator(name, **settings)
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


def test_frozen_blocks_are_those_next_to_the_image():
    style = create_discriminator("stylegan2", **STYLE)
    names = freeze(style, 1)
    assert {n.split(".")[0] for n in names} == {"from_image", "blocks"}
    assert {n.split(".")[1] for n in names if n.startswith("blocks")} == {"16"}
    assert freeze(create_discriminator("sngan", **SNGAN), 0) == []
    with pytest.raises(InputError, match="5 blocks cannot be frozen; the discriminator has 4"):
        freeze(create_discriminator("sngan", **SNGAN), 5)
