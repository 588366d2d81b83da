"""GAN networks: shapes at every size, conditions, and the registry with its files."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from synthbook.errors import InputError
from synthbook.gans import networks
from synthbook.gans.blocks import ConditionalBatchNorm, SelfAttention, sizes, widths
from synthbook.gans.networks import ARCHITECTURES, create_discriminator, create_generator
from synthbook.gans.residual import CIFAR
from synthbook.gans.transfer import transfer

SIZES = {name: (8, 16, 32, 64, 128) for name in ARCHITECTURES}
SIZES["stylegan2"] += (256,)
CASES = [(name, size) for name, sizes in SIZES.items() for size in sizes]
LATENT = {"latent": 840}  # can be cut into as many parts as any size has blocks


def conditions(config, count: int):
    if config.num_classes:
        return torch.arange(count) % config.num_classes
    return torch.randn(count, config.condition_size) if config.condition_size else None


@pytest.mark.parametrize(("name", "size"), CASES)
def test_shapes_at_every_size(name, size, pair):
    more = LATENT if name == "biggan" else {}
    generator, discriminator = pair(name, size, image_channels=1 if size == 16 else 3, **more)
    config = generator.config
    condition = conditions(config, 2)
    images = generator(torch.randn(2, config.latent), condition)
    assert images.shape == (2, config.image_channels, size, size)
    assert name.startswith("stylegan2") or images.abs().max() <= 1
    logits = discriminator(images, condition)
    assert logits.shape == ((2, logits.shape[-1]) if name == "projected" else (2,))
    assert discriminator.features(images).dim() == 2


CONDITIONED = [name for name in ARCHITECTURES if name not in ("resnet", "projected")]


@pytest.mark.parametrize("name", CONDITIONED)
@pytest.mark.parametrize("settings", [{"num_classes": 3}, {"condition_size": 7}])
def test_every_condition_changes_images_and_logits(name, settings, pair):
    generator, discriminator = pair(name, 16, **LATENT, **settings)
    if name.startswith("sngan"):  # its gains start small
        torch.nn.init.normal_([*generator.blocks[0].norm1.gain.parameters()][-1])
    generator.eval(), discriminator.eval()
    latents = torch.randn(1, generator.config.latent).repeat(2, 1)
    condition = conditions(generator.config, 2)
    first, second = generator(latents, condition)
    assert (first - second).abs().max() > 1e-5
    same = generator(latents, condition[:1].repeat_interleave(2, 0))
    torch.testing.assert_close(same[0], same[1])
    images = first.expand(2, -1, -1, -1)
    logits = discriminator(images, condition)
    assert (logits[0] - logits[1]).abs() > 1e-6


def test_published_sizes():
    """Numbers of parameters that the papers' networks have."""

    def count(network: torch.nn.Module) -> int:
        return sum(p.numel() for p in network.parameters())

    sngan = {"num_classes": 0, "image_size": 32}
    # 4 x 4 x 256 from z of 128; 3 blocks of two 3 x 3 and a 1 x 1; norms; the last convolution.
    block = 2 * (256 * 256 * 9 + 256) + 256 * 256 + 256 + 4 * 256
    expected = 128 * 4096 + 4096 + 3 * block + 2 * 256 + 256 * 3 * 9 + 3
    assert count(create_generator("sngan", **sngan)) == expected
    with torch.device("meta"):
        pair = ARCHITECTURES["stylegan2"]
        config = pair.config()
        generator, discriminator = pair.generator(config), pair.discriminator(config)
    # Karras et al. 2020 at 256 pixels: mapping of eight 512 x 512 layers, 13 convolutions each.
    assert count(generator.mapping) == 8 * (512 * 512 + 512)
    for network in (generator, discriminator):
        filters = [p for p in network.parameters() if p.dim() == 4 and p.shape[-1] == 3]
        assert len(filters) == 13
    assert config.widths() == [512, 512, 512, 512, 512, 256, 128]


def test_widths_double_as_the_size_halves():
    assert widths(16, 8) == [32, 16]
    assert widths(16, 64) == [64, 64, 64, 32, 16]


@pytest.mark.parametrize("name", ["sngan", "biggan"])
@pytest.mark.parametrize("size", [8, 16, 32])
def test_networks_that_widen_as_the_size_halves(name, size):
    """As those above 32 pixels: a block a size, and one more in the discriminator that keeps 4."""
    given = {"image_size": size, "channels": 4, "discriminator_channels": 8, "widest": 2}
    made, latent = sizes(size), 5 * len(sizes(size))
    generator = create_generator(name, **given, latent=latent)
    discriminator = create_discriminator(name, **given, latent=latent)
    up = [block.conv1.out_channels for block in generator.blocks]
    assert up == [8] * (len(made) - 2) + [4]
    down = [block.conv1.out_channels for block in discriminator.blocks]
    assert down == [8] + [16] * (len(made) - 1)
    images = generator(torch.randn(3, latent))
    assert images.shape == (3, 3, size, size)
    h = images
    for block in discriminator.blocks:
        h = block(h)
    assert h.shape == (3, 16, 4, 4)
    assert discriminator(images).shape == (3,)


@pytest.mark.parametrize(
    ("settings", "kind"),
    [({"num_classes": 3}, "Embedding"), ({"condition_size": 2}, "Linear"), ({}, "NoneType")],
)
def test_biggan_of_the_public_cifar_code_has_gains_a_class_and_plain_latents(settings, kind, pair):
    how = CIFAR | {"latent": 5, "channels": 32, "discriminator_channels": 32} | settings
    generator, discriminator = pair("biggan", 16, **how)  # 5 numbers cannot be cut into parts
    condition = conditions(generator.config, 2)
    images = generator(torch.randn(1, 5).expand(2, -1), condition)
    assert discriminator(images, condition).shape == (2,)
    assert generator.embed is None
    gains = [norm.gain for b in generator.blocks for norm in (b.norm1, b.norm2)]
    assert {type(gain).__name__ for gain in gains} == {kind}
    if "num_classes" in settings:
        assert gains[0].weight.shape == (3, 32)
    weights = [
        p for n, p in generator.named_parameters() if n.endswith(("original", "gain.weight"))
    ]
    weights += [p for n, p in discriminator.named_parameters() if n.endswith("original")]
    assert torch.cat([w.flatten() for w in weights]).std().item() == pytest.approx(0.02, rel=0.05)


def test_hierarchical_latent_reaches_its_own_block_only(pair):
    generator, _ = pair("biggan", 16, latent=9, attention=8)
    generator.eval()
    seen = []
    for block in generator.blocks:
        block.register_forward_hook(lambda m, inputs, out: seen.append(out.detach()))
    latents = torch.randn(1, 9)
    generator(latents)
    latents[:, 6:] += 1  # the part of the last block
    generator(latents)
    torch.testing.assert_close(seen[0], seen[2])
    assert (seen[1] - seen[3]).abs().max() > 1e-6


@pytest.mark.parametrize("name", ["resnet", "sngan", "biggan"])
def test_a_discriminator_sees_the_image_as_it_is_and_adds_up_its_last_map(name, pair):
    """Miyato et al. 2018, Tables 3 and 4: no ReLU before the first layer, one before the sum."""
    _, discriminator = pair(name)
    discriminator.eval()
    images, entered, maps = torch.randn(3, 3, 8, 8), [], []
    for block in discriminator.blocks:
        block.conv1.register_forward_pre_hook(lambda _, given: entered.append(given[0]))
    discriminator.blocks[-1].register_forward_hook(lambda _, given, made: maps.append(made))
    h = discriminator.features(images)
    assert torch.equal(entered[0], images)
    assert all((x >= 0).all() for x in entered[1:])
    assert (maps[0] < 0).any()
    torch.testing.assert_close(h, maps[0].clamp(min=0).sum((2, 3)))


@pytest.mark.parametrize("name", ["resnet", "sngan", "biggan"])
def test_a_generator_begins_and_ends_as_in_the_papers(name, pair):
    """A linear layer to 4 x 4; norm, ReLU, convolution and tanh (Miyato et al. 2018, Table 3)."""
    generator, _ = pair(name)
    generator.eval()
    latents, seen = torch.randn(3, 4), []
    generator.blocks[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    generator.blocks[-1].register_forward_hook(lambda _, given, made: seen.append(made))
    images = generator(latents, conditions(generator.config, 3))
    first = generator.first(latents[:, : generator.first.in_features])
    torch.testing.assert_close(seen[0], first.view(3, -1, 4, 4))
    wanted = generator.last(generator.norm(seen[1]).clamp(min=0)).tanh()
    torch.testing.assert_close(images, wanted)


@pytest.mark.parametrize(("name", "size", "at"), [("biggan", 16, 8), ("sngan", 32, 8)])
def test_attention_is_where_the_settings_say(name, size, at, pair):
    seen = []
    for network in pair(name, size, attention=at, latent=12):
        network.attention.register_forward_hook(lambda _, x, y: seen.append(x[0].shape[2:]))
        if hasattr(network, "psi"):
            network(torch.randn(2, 3, size, size))
        else:
            network(torch.randn(2, 12))
    assert seen == [(at, at)] * 2


def test_attention_starts_as_identity_and_equals_its_formula():
    attention = SelfAttention(8, lambda layer: layer)
    x = torch.randn(2, 8, 4, 4)
    torch.testing.assert_close(attention(x), x)
    with torch.no_grad():
        attention.gamma.fill_(0.5)
    query = attention.query(x).flatten(2)
    pool = torch.nn.functional.max_pool2d
    key, value = (pool(f(x), 2).flatten(2) for f in (attention.key, attention.value))
    weights = torch.einsum("ncq,nck->nqk", query, key).softmax(2)
    h = torch.einsum("nqk,nck->ncq", weights, value).view(2, 4, 4, 4)
    torch.testing.assert_close(attention(x), x + 0.5 * attention.last(h))


def test_conditional_norm_is_plain_without_a_vector():
    x = torch.randn(6, 4, 3, 3)
    plain = ConditionalBatchNorm(4, None)
    zero = ConditionalBatchNorm(4, lambda channels: torch.nn.Linear(2, channels, bias=False))
    torch.testing.assert_close(plain(x, None), zero(x, torch.zeros(6, 2)))


@pytest.mark.parametrize("name", CONDITIONED)
@pytest.mark.parametrize("settings", [{"num_classes": 3}, {"condition_size": 7}, {}])
def test_from_embedding_is_what_forward_does_after_embed(name, settings, pair):
    generator, _ = pair(name, 16, **LATENT, **settings)
    if not name.startswith("stylegan2"):  # gains that start small would hide the condition
        for p in generator.parameters():
            torch.nn.init.normal_(p, std=0.3)
    generator.eval()
    latents = torch.randn(3, generator.config.latent)
    condition = conditions(generator.config, 3)
    embedded = None if condition is None else generator.embed(condition)
    images = generator(latents, condition)
    assert torch.equal(generator.from_embedding(latents, embedded), images)
    mixed = [
        network(latents, given, torch.Generator().manual_seed(0))
        for network, given in ((generator, condition), (generator.from_embedding, embedded))
    ]
    assert torch.equal(*mixed)
    if embedded is None:
        return
    each = embedded[:, None].repeat(1, generator.num_blocks, 1)
    scale = images.abs().max().item()
    close = {"rtol": 1e-4, "atol": 1e-4 * scale}
    torch.testing.assert_close(generator.from_embedding(latents, each), images, **close)
    apart = generator.from_embedding(latents, each, torch.Generator().manual_seed(0))
    torch.testing.assert_close(apart, mixed[0], **close)
    for k in range(generator.num_blocks):  # every block takes its own
        other = each.clone()
        other[:, k] = torch.randn_like(other[:, k])
        assert (generator.from_embedding(latents, other) - images).abs().max() > 1e-3 * scale


@pytest.mark.parametrize("name", ["resnet", "sngan", "biggan"])
def test_spectral_norm_makes_the_largest_singular_value_one(name, pair):
    generator, discriminator = pair(name, 8, num_classes=3)
    spectral = [discriminator] + ([generator] if name == "biggan" else [])
    labels = torch.tensor([0, 1])
    for _ in range(60):  # each training forward is one power iteration
        images = generator(torch.randn(2, generator.config.latent), labels)
        discriminator(images, labels)
    normed = 0
    for network in spectral:
        for module in network.modules():
            if hasattr(module, "parametrizations"):
                largest = torch.linalg.matrix_norm(module.weight.flatten(1), 2).item()
                assert largest == pytest.approx(1, abs=0.03)
                normed += 1
    kinds = ("Conv2d", "Linear", "Embedding")  # those with spectral norm have other types
    bare = [m for n in spectral for m in n.modules() if type(m).__name__ in kinds]
    # BigGAN's shared embedding is the one layer without (Brock et al. 2019, public code).
    assert bare == ([generator.embed] if name == "biggan" else [])
    assert normed > 5


def test_logit_is_psi_plus_the_inner_product_with_the_class(pair):
    _, discriminator = pair("resnet", num_classes=3)
    discriminator.eval()
    images = torch.randn(4, 3, 8, 8)
    h = discriminator.features(images)
    for label in range(3):
        logits = discriminator(images, torch.full((4,), label))
        expected = (
            h @ discriminator.psi.weight[0]
            + discriminator.psi.bias
            + h @ discriminator.embed.weight[label]
        )
        torch.testing.assert_close(logits, expected)


@pytest.mark.parametrize("name", ["sngan", "biggan"])
def test_a_vector_weighs_in_the_logit_as_a_label_does(name, pair):
    """Spectral norm bounds what a label becomes; vectors of any length d are bounded likewise."""
    length = 400
    _, told = pair(name, num_classes=3)
    _, given = pair(name, condition_size=length)
    vectors, labels = torch.randn(8, length), torch.arange(3)
    for network, condition in ((told, labels), (given, vectors)):
        network.train()
        images = torch.randn(len(condition), 3, 8, 8)
        for _ in range(30):  # power iterations of spectral norm
            network(images, condition)
        network.eval()
        assert network.embedded(condition).norm(dim=1).max() < 1.2
    bare = given.embed(vectors) - given.embed.bias
    scaled = given.embedded(vectors) - given.embed.bias
    torch.testing.assert_close(scaled, bare / length**0.5)


@pytest.mark.parametrize("name", ["sngan", "biggan", "stylegan2", "stylegan2_mlp"])
def test_logit_of_a_vector_is_equation_4(name, pair):
    """D(x, y) = <D_emb(y), D_f(x)> + D_l(D_f(x)); StyleGAN2's product is over sqrt(D)."""
    _, discriminator = pair(name, condition_size=5)
    discriminator.eval()
    images, vectors = torch.randn(4, 3, 8, 8), torch.randn(4, 5)
    h = discriminator.features(images)
    if name.startswith("stylegan2"):
        d_l, d_emb, scale = discriminator.last, discriminator.embed, h.shape[1] ** -0.5
        weights = [layer.weight * layer.scale for layer in (d_l, d_emb)]
    else:
        d_l, d_emb, scale = discriminator.psi, discriminator.embed, 1.0
        weights = [d_l.weight, d_emb.weight / 5**0.5]  # vectors are taken as of length one
    torch.nn.init.normal_(d_emb.bias)
    embedded = torch.einsum("nc,dc->nd", vectors, weights[1]) + d_emb.bias
    expected = [
        scale * e @ f + weights[0][0] @ f + d_l.bias[0] for e, f in zip(embedded, h, strict=True)
    ]
    torch.testing.assert_close(
        discriminator(images, vectors), torch.stack(expected), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("name", ["sngan", "biggan"])
def test_with_a_g_emb_of_zero_the_conditional_norm_is_the_plain_one(name, pair):
    how = {"hierarchical": False} if name == "biggan" else {}
    conditional, _ = pair(name, 16, condition_size=5, **how)
    plain, _ = pair(name, 16, seed=1, **how)
    for p in conditional.embed.parameters():
        torch.nn.init.zeros_(p)
    kept = transfer(plain, conditional)
    assert {part.rsplit(".", 1)[1] for part in kept} == {"weight", "bias"}  # of norms: 1 and 0
    assert all("norm" in part for part in kept)
    latents, vectors = torch.randn(6, plain.config.latent), torch.randn(6, 5)
    torch.testing.assert_close(conditional(latents, vectors), plain(latents))


@pytest.mark.parametrize("settings", [{}, {"num_classes": 2}, {"condition_size": 5}])
def test_self_modulation_gives_each_latent_gains_of_its_own(settings, pair):
    """Chen et al. 2019, Eq. 3: 1 + V max(0, U z + b), with the embedded condition beside z."""
    generator, _ = pair("sngan_self_modulated", **settings)
    condition, latents = conditions(generator.config, 3), torch.randn(3, 4)
    norm, seen = generator.blocks[0].norm1, []
    norm.register_forward_hook(lambda module, inputs, out: seen.append((inputs[0], out)))
    generator(latents, condition)
    z = latents if condition is None else torch.cat([generator.embed(condition), latents], 1)
    (u, _, v), (x, out) = norm.gain, seen[0]
    gain = 1 + (u(z).clamp(min=0)) @ v.weight.T
    expected = norm.norm(x) * gain[:, :, None, None] + norm.bias(z)[:, :, None, None]
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-5)
    assert v.weight.shape[1] == u.weight.shape[0] == 32


@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_stages_hold_all_but_the_last_layers(name, pair):
    _, discriminator = pair(name, 32, **LATENT)
    inside = {id(p) for s in discriminator.stages() for m in s for p in m.parameters()}
    left = [n for n, p in discriminator.named_parameters() if id(p) not in inside]
    assert {n.split(".")[0] for n in left} <= {"psi", "embed", "last", "projector"}


@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_equal_seeds_make_equal_weights(name, pair):
    state = torch.random.get_rng_state()
    first, second, other = (
        torch.cat([p.flatten() for p in pair(name, seed=seed)[0].parameters()])
        for seed in (1, 1, 2)
    )
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_saved_networks_are_read_back(name, tmp_path, pair):
    generator, discriminator = pair(name, 16, **LATENT)
    networks.save(generator, tmp_path, discriminator)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"config.json", "generator.safetensors", "discriminator.safetensors"}
    read = (networks.load(tmp_path), networks.load_discriminator(tmp_path))
    for made, kept in zip(read, (generator, discriminator), strict=True):
        assert made.config == kept.config
        for key, value in made.state_dict().items():
            assert torch.equal(value, kept.state_dict()[key]), key
    assert not any(p.requires_grad for p in read[0].parameters())
    assert networks.check_pair(tmp_path) == generator.config


def test_the_generator_to_train_on_has_weights_of_its_own_or_the_averaged_ones(tmp_path, pair):
    (averaged, discriminator), (own, _) = (pair("sngan", seed=seed) for seed in (0, 1))
    networks.save(averaged, tmp_path / "both", discriminator, own)
    networks.save(averaged, tmp_path / "one", discriminator)
    for folder, expected in (("both", own), ("one", averaged)):
        read = networks.load_unaveraged(tmp_path / folder)
        assert all(torch.equal(v, expected.state_dict()[k]) for k, v in read.state_dict().items())
        assert all(p.requires_grad for p in read.parameters())


def test_files_of_another_network_are_refused(tmp_path, pair):
    networks.save(pair("sngan", 8)[0], tmp_path)
    with pytest.raises(InputError, match=r"no discriminator \(discriminator.safetensors\)"):
        networks.load_discriminator(tmp_path)
    with pytest.raises(InputError, match=r"no discriminator \(discriminator.safetensors\)"):
        networks.check_pair(tmp_path)
    with pytest.raises(InputError, match="no generator"):
        networks.load(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"no pair of networks \(config.json\)"):
        networks.check_pair(tmp_path / "nowhere")
    config = json.loads((tmp_path / "config.json").read_text())
    for change, says in (
        ({"channels": 8}, "not of a 'sngan' of 8 pixels"),
        ({"architecture": "vae"}, "'vae' is not known"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(InputError, match=says):
            networks.load(tmp_path)


@pytest.mark.parametrize(
    ("name", "settings", "says"),
    [
        ("stylegan", {}, "did you mean 'stylegan2'"),
        ("stylegan2", {"image_size": 48}, r"image size 48 .* 128 or 256 pixels"),
        ("biggan", {"image_size": 256}, r"image size 256 .* 64 or 128 pixels"),
        ("resnet", {"num_classes": 0}, "num_classes above 0"),
        ("sngan", {"num_classes": 2, "condition_size": 2}, "exclude each other"),
        ("biggan", {"latent": 130}, r"latent 130 cannot be cut into 4 .* multiple of 4"),
        ("biggan", {"attention": 12}, "attention at 12"),
        ("biggan", {"shared": False}, "hierarchical True needs shared True"),
        ("sngan_self_modulated", {"shared": False}, "gives all of z to each block"),
        ("stylegan2", {"wide": 3}, "did you mean 'widest'"),
    ],
)
def test_bad_settings_say_what_is_wrong(name, settings, says):
    with pytest.raises(InputError, match=says):
        create_generator(name, **settings)


@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_configs_are_the_constructors_arguments(name, tiny):
    made = networks.create_config(name, **tiny[name])
    again = ARCHITECTURES[name].config(**json.loads(json.dumps(dataclasses.asdict(made))))
    assert made == again
    assert made.architecture == name
