"""What only a training would find out is found before it: networks, weights, sizes, memory."""

from __future__ import annotations

import pytest

from synthbook import data, machine
from synthbook.errors import InputError
from synthbook.record.parameters import check_values
from synthbook.studies import audit, drawn, image_sources, needs, prim, reasons
from synthbook.studies.pretrained_guidance import check_pretrained_guidance
from synthbook.studies.real_guidance import check_real_guidance

CHECKS = {
    "11": image_sources.check_generators, "12": image_sources.check_sources,
    "13": image_sources.check_data,
    "14": image_sources.check_what_an_image_teaches, "15": check_pretrained_guidance,
    "16": check_real_guidance, "51": drawn.check_synthesizer, "52": prim.check_transfer,
    "53": reasons.check_reasons, "61": audit.check_inputs,
}  # fmt: skip
BAD = [
    ("backbone", {"backbone": "nonsense"}, "11 12 13 14 15 16 61", "'nonsense' is no network"),
    ("weights", {"pretrained": True}, "11 12 13 14 15 16 61", "small_cnn has no pretrained"),
    ("padding", {"crop_padding": 32}, "11 12 13 14 15 16 61", "give at most 31"),
    (
        "padding", {"scratch_crop_padding": 32, "parts": ["scratch"]}, "15",
        "scratch_crop_padding = 32 and images have 32 pixels a side",
    ),
    ("classes", {"set_size": 99, "data": "caltech101"}, "12 13 14 15 16", "give an image for each"),
    ("guide", {"guide_backbone": "x", "remedies": ["PG-KL"]}, "61", "guide_backbone = 'x' is no"),
    ("guide", {"guide_backbone": "x"}, "15", "guide_backbone = 'x' is no network"),
    ("guide", {"guide_backbone": "x", "methods": ["RG", "PG-R+PG-F"]}, "16", "'x' is no network"),
    ("guide", {"guide_backbone": "resnet34", "parts": ["pretrained"], "guide_pretrained": False},
     "15", "weights of guide_backbone = resnet34 are not on this computer"),
    ("measures", {"extractor": "inception"}, "11 52 53 61", "no Inception weights"),
    ("measures", {"neighbours": 200}, "61", "neighbours = 200 and halves .* have 200 images"),
    ("targets", {"target_images": 500}, "52", "'caltech3:Faces_easy' has 433 images; give 324"),
    ("targets", {"target_images": 500, "parts": ["ablation"]}, "53", "has 433 images"),
    ("exponents", {"exponent_low": 3.5}, "51", "give a lower one that is below the higher"),
    ("exponents", {"exponent_low": 4.0}, "51", "lower end first"),
]  # fmt: skip
LARGE = [
    ({"image_size": 1024}, "11 12 13 14 15 16 61", "4,459 images of 'caltech10' would take 28 GB"),
    ({"input_size": 1024}, "11 12 13 14 15 16 61", "a batch of 64 images of 1024 pixels in small"),
    ({"batch_size": 10**6, "input_size": 512}, "12", "a batch of 3,345 images of 512 .*"),
    (
        {"batch_size": 10**6, "input_size": 512, "precision": "bfloat16"},
        "12",
        "a batch of 3,345 images",
    ),
    ({"large_input_size": 1024, "parts": ["pretrained"]}, "15", "of 1024 pixels in efficientnet"),
    ({"scratch_input_size": 1024, "parts": ["scratch"]}, "15", "of 1024 pixels in efficientnet"),
    ({"measured": 10**6}, "51", "measured = 1,000,000 images of 256 pixels"),
    ({"network_settings": ["channels=4096"]}, "52 53", "up to 4,096 channels"),
    (
        {"architecture": "stylegan2", "network_settings": ["latent=65536"]},
        "52 53",
        "vectors of 65,536 numbers would take",
    ),
    (
        {"training_settings": ["batch_size=1000000", "schedule=constant"]},
        "52 53",
        "a batch of 1,000,000 images of 32 pixels in a GAN",
    ),
    ({"generated": 10**6}, "52", "generated = 1,000,000 images of 32 pixels"),
    ({"biggan_network_settings": ["channels: 4096"]}, "53", "up to 4,096 channels"),
    (
        {"biggan_training_settings": ["batch_size: 1000000", "schedule: constant"]},
        "53",
        "a batch of 1,000,000 images of 32",
    ),
    (
        {
            "biggan_training_settings": ["standing_images: 1000000", "schedule: constant"],
            "biggan_image_size": 64,
        },
        "53",
        "standing_images = 1,000,000",
    ),
]


@pytest.fixture(autouse=True)
def no_weights(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("SYNTHBOOK_INCEPTION", str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("chapter", "values", "message"),
    [(chapter, values, message) for _, values, which, message in BAD for chapter in which.split()],
)
def test_what_would_fail_after_hours_is_refused_by_the_checking_cell(chapter, values, message):
    with pytest.raises(InputError, match=message):
        CHECKS[chapter](check_values(chapter, values))


@pytest.mark.usefixtures("all_kept")
@pytest.mark.parametrize(
    ("chapter", "values", "message"),
    [(chapter, values, message) for values, which, message in LARGE for chapter in which.split()],
)
def test_what_no_memory_holds_is_refused_and_the_sentence_says_what_would_do(
    chapter, values, message, monkeypatch
):
    monkeypatch.setattr(machine, "memory", lambda device="cpu": 5e9)
    with pytest.raises(InputError, match=f"{message}.*this machine has 5 GB; give"):
        CHECKS[chapter](check_values(chapter, values))
    monkeypatch.setattr(machine, "memory", lambda device="cpu": 1e15)
    CHECKS[chapter](check_values(chapter, values))


@pytest.mark.parametrize(
    ("values", "size"), [({}, 31), ({"precision": "bfloat16"}, 63), ({"input_size": 1024}, 7)]
)
def test_the_batch_that_a_refusal_names_passes(values, size, monkeypatch):
    monkeypatch.setattr(machine, "memory", lambda device="cpu": 5e9)
    asked = {"batch_size": 10**6, "input_size": 512} | values
    with pytest.raises(InputError, match=f"give a batch_size of {size}, or a smaller input_size"):
        image_sources.check_sources(check_values("12", asked))
    image_sources.check_sources(check_values("12", asked | {"batch_size": size}))


@pytest.mark.parametrize("chapter", CHECKS)
def test_every_chapters_own_values_pass_on_two_gigabytes(chapter, monkeypatch):
    monkeypatch.setattr(machine, "memory", lambda device="cpu": 2e9)
    assert str(CHECKS[chapter](check_values(chapter, {})))


def test_kept_models_are_found_by_their_cards_before_anything_is_read(keep_models):
    train = data.load("digits", image_size=16).train
    p = {"data": "digits", "image_size": 16, "data_root": "", "sources": ["real", "gan"]}
    with pytest.raises(InputError, match="no gan model number 0 of 'digits' at 16 pixels"):
        image_sources.check_data(p)
    image_sources.check_data(p | {"minutes": 1})  # which trains it
    (model,) = keep_models(train, families=["gan"])
    said = str(image_sources.check_data(p))
    assert f"gan: {model.card['name']}, trained on {len(train)} images" in said
    for other in (
        {"image_size": 8}, {"sources": ["real", "diffusion"]}, {"data": "mnist5k"},
        {"first_seed": 1, "generators": 2},
    ):  # fmt: skip
        with pytest.raises(InputError, match="is kept; train it with synthbook run 11_generators"):
            image_sources.check_data(p | other)


def test_of_a_model_that_is_no_part_of_the_book_the_check_says_how_long_it_was_trained(
    keep_models, monkeypatch
):
    train = data.load("digits", image_size=16).train
    p = {"data": "digits", "image_size": 16, "data_root": "", "sources": ["real", "diffusion"]}
    (model,) = keep_models(train, families=["diffusion"])
    card = {**model.card, "budget": {"minutes": 2.5}}
    monkeypatch.setattr(needs, "cards", lambda: [(model.folder, card)])
    monkeypatch.setattr(needs, "places", lambda: (model.folder, model.folder.parent))
    said = f"diffusion: {card['name']}, trained on {len(train)} images"
    assert f"{said} for 2.5 minutes at most (8, 8 channels)" in str(image_sources.check_data(p))
    monkeypatch.setattr(needs, "places", lambda: (model.folder.parent, None))
    assert str(image_sources.check_data(p)).endswith(said)


@pytest.mark.parametrize(
    ("p", "number", "command"),
    [
        ({"data": "my photos"}, 0, "run 11_generators -p 'data=my photos' -p minutes=30"),
        (
            {"data": "/a/b", "image_size": 48, "data_root": "d", "generators": 3}, 2,
            "-p data=/a/b -p image_size=48 -p data_root=d -p minutes=30 -p first_seed=2"
            " -p generators=3, or set generators to 2",
        ),
        ({"data": "caltech10", "image_size": 0}, 0, "make models"),
        ({"data": "caltech10", "image_size": 48}, 0, "leave out image_size = 48"),
    ],
)  # fmt: skip
def test_the_command_that_makes_a_model_makes_the_one_that_is_missing(p, number, command):
    assert str(needs.not_kept("gan", number, p)).endswith(command)


def test_at_a_scale_of_the_book_a_model_is_made_at_that_scale():
    for values, command in (
        ({"data_root": "d"}, "run 11_generators --scale small -p data_root=d"),
        ({"data": "my"}, "run 11_generators -p data=my -p image_size=32 -p minutes=30"),
    ):
        p = check_values("12_not_mutual", values, "small")
        assert str(needs.not_kept("gan", 0, p)).endswith(command)


def test_the_memory_of_a_classifier_is_a_lower_bound():
    """Of what a training step really keeps, counted at autograd's own door."""
    import torch

    from synthbook.recognize.models import create_classifier
    from synthbook.studies.needs import OTHERS, PER_PIXEL

    model = create_classifier("small_cnn", num_classes=10, channels=3, image_size=32).train()
    kept: dict[int, int] = {}
    held = []

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        held.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(torch.rand(2, 3, 32, 32))
    for parameter in model.parameters():
        kept.pop(parameter.untyped_storage().data_ptr(), None)
    bound = 2 * 32**2 * PER_PIXEL["small_cnn"]
    assert 0.75 * sum(kept.values()) < bound <= sum(kept.values())
    assert PER_PIXEL["small_cnn"] > OTHERS
