"""What a parameter's name means: its type, range and help, once for all chapters.

It is one long table, so that whoever needs a parameter sees the names there are, and no name means
two things.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.fields import FieldInfo

from synthbook import settings as s
from synthbook.record.kinds import (
    TYPES,
    Adversarial,
    Architecture,
    Batch,
    Big,
    Device,
    Family,
    Features,
    FewShot,
    Guided,
    Images,
    LimitedData,
    Mixing,
    Named,
    Place,
    Pretrained,
    Rate,
    Residual,
    RowsFile,
    Shot,
    Sources,
    Whole,
)


def _of(kind: Any, help_text: str, example: Any, **limits: Any) -> Any:
    return Annotated[kind, Field(description=help_text, examples=[example], **limits)]


_LAMBDA = "weight of Pretrained Guidance"
_CHOSEN = "of several, the best on validation images"
_POLICY = "how sizes of shapes are drawn"

VOCABULARY: dict[str, Any] = {
    # how often and from which seed
    "seeds": _of(s.Count, "number of seeds", 5, le=1000),
    "first_seed": _of(int, "first seed; the others follow it", 0, ge=0, le=2**31 - 1),
    "generators": _of(s.Count, "models of each family; seed s uses s mod this number", 1, le=1000),
    # training
    "epochs": _of(s.Count, "passes over the largest stream of images", 20, le=100_000),
    "schedule": _of(s.Schedule, "of the learning rate", "constant"),
    "crop_padding": _of(s.Padding, "pixels of padding for random crops", 4),
    "flip": _of(bool, "mirror half of the training images", False),
    "input_size": _of(s.Zero | s.Side, "side that batches are resized to; 0: as they are", 224),
    "precision": _of(s.Precision, "of the arithmetic in training", "float32"),
    "batch_size": _of(Batch, "images a batch", 64),
    "learning_rate": _of(Rate, "step size of the optimiser", 0.001),
    # generators
    "minutes": _of(
        float, "to train a model of each family for, if none is kept; 0: none is trained", 30.0,
        ge=0, le=10_000,
    ),
    "recipe": _of(Literal["book", "large"], "of models that are trained", "book"),
    "unconditional": _of(s.Unique[Family], "families labelled by the filter", ["diffusion"]),
    # sampling
    "guidance_scale": _of(float, "0 without a class, 1 with, above 1 guided", 2.0, ge=0, le=100),
    "synthetic_ratio": _of(float, "generated images for each real image", 1.0, gt=0, le=1000),
    "confidence": _of(s.Share, "smallest softmax probability kept", 0.8, lt=1),
    "share": _of(s.Share, "share of the images", 0.1, gt=0, lt=1),
    # drawn images
    "variants": _of(s.Some[s.Variant], "synthesizers of drawn images", ["Primitives-PS"]),
    "resolution": _of(int, "side of drawn images in pixels, a power of two", 256, ge=8, le=4096),
    "shapes": _of(
        Annotated[int, Field(ge=-1, le=1000)], "shapes in a drawn image; -1: by resolution", 100
    ),
    "quirks": _of(s.Unique[s.Quirk], "what the public drawing code does", ["fixed_canvas"]),
    "size_policy": _of(s.SizePolicy, _POLICY, "Decay"),
    "exponent_low": _of(s.Exponent, "lower end of the spectral exponents", 0.5),
    "exponent_high": _of(s.Exponent, "upper end of the spectral exponents", 3.5),
    "exponent_steps": _of(int, "spectral exponents that are checked", 7, ge=2, le=100),
    # GANs from few images
    "targets": _of(s.Some[Named], "images that a GAN is to learn", ["caltech3:Motorbikes"]),
    "in_domain": _of(s.Unique[Place], "targets like the real source", ["caltech3:Motorbikes"]),
    "single_object": _of(s.Unique[Place], "targets of one object on plain ground", ["digits:3"]),
    "real_source": _of(Named, "real images that a GAN is pretrained on: no target's", "caltech97"),
    "pretrain_on": _of(Place, "folder of a pair that was pretrained; '': on real_source", ""),
    "architecture": _of(Architecture, "which GAN", "stylegan2"),
    "network_settings": _of(s.Unique[s.Text], "settings of its networks", ["channels: 32"]),
    "training_settings": _of(s.Unique[s.Text], "settings of its training", ["batch_size: 16"]),
    "target_images": _of(Images, "images of a target to train on", 100, ge=2),
    "held_out_images": _of(
        Images, "other images of a target, at most; of a folder with train and test, of its test",
        400, ge=2,
    ),
    "stop_after": _of(s.Whole, "steps after which a training is stopped; 0: at its end", 150),
    "pretrain_settings": _of(s.Unique[s.Text], "of the source's training", ["batch_size: 16"]),
    "pretrain_steps": _of(s.Count, "training steps on the source", 300),
    "finetune_steps": _of(s.Count, "training steps on a target", 200),
    "augment": _of(s.Augmentations, "DiffAugment", "color,translation,cutout"),
    "frozen_blocks": _of(int, "discriminator's blocks that FreezeD keeps", 4, ge=0, le=16),
    "evaluate_every": _of(s.Count, "training steps between two measurements", 25),
    "generated": _of(Images, "generated images that are measured", 200, ge=2),
    "policies": _of(s.Some[s.SizePolicy], _POLICY, ["Decay", "Rand"]),
    "counts": _of(s.Unique[s.Shapes], "numbers of shapes; []: by resolution", [100]),
    "shares": _of(s.Some[Annotated[s.Share, Field(gt=0)]], "shares of a data set", [0.1]),
    "share_steps": _of(list[s.Count], "at each share; []: biggan_finetune_steps", [1000]),
    "more_data": _of(s.Unique[Named], "further labelled sets", ["cifar100"]),
    "biggan_architecture": _of(Residual, "which GAN learns classes", "biggan"),
    "biggan_network_settings": _of(s.Unique[s.Text], "of its networks", ["channels: 32"]),
    "biggan_training_settings": _of(s.Unique[s.Text], "of its training", ["batch_size: 16"]),
    "biggan_keeps": _of(
        s.Unique[Literal["embeddings", "adam"]], "kept of pretraining, besides weights", ["adam"]
    ),
    "biggan_generated": _of(Images, "generated images that are measured", 200, ge=2),
    "biggan_image_size": _of(s.Side, "side of BigGAN's images in pixels", 32, le=256),
    "biggan_finetune_steps": _of(s.Count, "training steps on labelled images", 1000),
    "biggan_pretrain_steps": _of(s.Count, "training steps on drawn images", 1000),
    "biggan_augment": _of(s.Augmentations, "DiffAugment", "translation,cutout"),
    "biggan_evaluate_every": _of(s.Count, "steps between two measurements", 500),
    # the Data Instance Prior
    "priors": _of(s.Unique[s.Text], "supervised, self-supervised, or NAME=NETWORK", ["supervised"]),
    "prior_size": _of(
        s.Side, "side of the images that the prior's network gets", 64, ge=32, le=224
    ),
    "consistency": _of(s.Weight, "weight of DiffAugment's consistency", 10.0),
    "study_targets": _of(s.Some[Named], "targets of the studies", ["caltech3:Faces_easy"]),
    "amount_targets": _of(s.Some[Named], "targets to learn by amount", ["caltech3:airplanes"]),
    "amounts": _of(
        s.Some[Annotated[Images, Field(ge=2)]], "numbers of images to learn from", [25, 100]
    ),
    "perceptual": _of(
        Literal["efficientnet_lite0", "vgg16"], "network of the perceptual distance",
        "efficientnet_lite0",
    ),
    "glann_epochs": _of(s.Count, "passes of GLANN over the images", 4000),
    "bsa_steps": _of(s.Count, "training steps of BSA", 10_000),
    "study_priors": _of(s.Some[s.Text], "priors that Table 5 compares", ["supervised", "own"]),
    "target_settings": _of(
        s.Unique[s.Text], "what is other for a data set, TARGET.name=value",
        ["data/ffhq.image_size=128"],
    ),
    "clusters": _of(s.Count, "clusters of the self-conditioned GAN", 100),
    "centres": _of(s.Count, "centres of k-means that conditions come from", 10_000),
    "components": _of(s.Count, "components of the mixture that they come from", 1000),
    "own_epochs": _of(s.Count, "passes of the prior own over the training images", 100, le=100_000),
    "stylegan2_targets": _of(s.Some[Named], "targets of Table 6", ["caltech3:Faces_easy"]),
    "stylegan2_real_source": _of(Named, "real images seen before: no target's", "caltech97"),
    "stylegan2_image_size": _of(s.Side, "side of its images in pixels", 32, le=256),
    "stylegan2_network_settings": _of(s.Unique[s.Text], "of its networks", ["channels=32"]),
    "stylegan2_training_settings": _of(s.Unique[s.Text], "of its training", ["batch_size=16"]),
    "stylegan2_finetune_steps": _of(s.Count, "its training steps on a target", 200),
    "stylegan2_evaluate_every": _of(s.Count, "its steps between two measurements", 50),
    "stylegan2_frozen_blocks": _of(int, "its blocks that FreezeD keeps", 4, ge=0, le=16),
    "consistency_with_prior": _of(s.Weight, "weight of the consistency with the prior", 1.0),
    "mining_steps": _of(s.Count, "steps of MineGAN that train its miner alone", 100),
    "share_image_size": _of(s.Side, "side of images of shares in pixels", 32, le=256),
    "share_network_settings": _of(s.Unique[s.Text], "of networks for shares", ["channels=32"]),
    "share_training_settings": _of(s.Unique[s.Text], "of training on shares", ["flip=true"]),
    # inversion and editing
    "train_missing": _of(bool, "train generators that are not kept", False),
    "photographs": _of(Place, "folder of your own images to invert and edit", "my_photographs/"),
    "queries": _of(Images, "held-out images that are inverted", 96, ge=2),
    "control_queries": _of(Images, "of them in each control", 32, ge=2),
    "shown_images": _of(Images, "of them on the page", 4),
    "edited_images": _of(Images, "of them that are edited", 32),
    "inversion_steps": _of(s.Count, "of Adam", 300),
    "inversion_rate": _of(Rate, "step size of Adam", 0.1),
    "tried_starts": _of(Images, "draws, the nearest of which is a start", 200),
    "noises": _of(Images, "z of each prior", 4),
    "box_share": _of(s.Share, "share of an image that a box takes", 0.25, gt=0),
    # data
    "data": _of(Named, "data set: a name, a folder of class folders, an .npz", "caltech10"),
    "data_root": _of(Place, "folder of downloaded data sets", ""),
    "skip_unreadable": _of(bool, "leave out files that cannot be read", False),
    "image_size": _of(s.Zero | s.Side, "side of the images in pixels; 0: as they are", 32),
    "set_size": _of(
        s.Zero | Annotated[int, Field(ge=10, le=10**9)],
        "training images a source; 0: as many as real ones", 5000,
    ),
    "measured": _of(Images, "images of each source that are compared", 1000, ge=10),
    "extractor_size": _of(s.Side, "side of the extractor's input", 64, ge=32, le=224),
    "shots": _of(Images, "real images a class", 16),
    "train_images": _of(
        s.Zero | Annotated[int, Field(ge=2, le=10**9)], "real training images; 0: all", 200
    ),
    # remedies
    "lambda_1": _of(s.Weight, "weight of the real gradient", 1.0),
    "lambda_2": _of(s.Weight, "weight of the synthetic gradient", 1.0),
    "lambda_3": _of(s.Weight, _LAMBDA, 1.0),
    "lambda_3_kl": _of(s.Some[s.Weight], f"{_LAMBDA} with KL; {_CHOSEN}", [1.0]),
    "lambda_3_l1": _of(s.Some[s.Weight], f"{_LAMBDA} with L1; {_CHOSEN}", [1.0]),
    "lambdas": _of(s.Some[s.Weight], "weights of a sensitivity study", [1.0]),
    "guide_backbone": _of(s.Text, "frozen network: a timm name", "efficientnet_lite0"),
    "guide_input_size": _of(s.Side, "side of the guide's input in pixels", 32),
    "guide_pretrained": _of(bool, "false: random weights, a control", True),
    "large_input_size": _of(s.Side, "side of the large network's input", 32),
    "large_set_size": _of(
        s.Zero | Annotated[int, Field(ge=10, le=10**9)],
        "training images of the large network; 0: those of the small one", 500,
    ),
    "scratch_set_size": _of(
        s.Zero | Annotated[int, Field(ge=10, le=10**9)],
        "the same of that from random weights", 1000,
    ),
    "large_epochs": _of(s.Count, "passes of the large network over the images", 10, le=100_000),
    "large_learning_rate": _of(Rate, "of the large network, pretrained", 0.001),
    "scratch_epochs": _of(s.Count, "the same from random weights", 20, le=100_000),
    "scratch_learning_rate": _of(Rate, "of the large network, from random weights", 0.001),
    "scratch_input_size": _of(s.Side, "side of that network's input", 32),
    "scratch_crop_padding": _of(s.Padding, "pixels of padding for that network's crops", 4),
    "scratch_flip": _of(bool, "mirror half of that network's training images", True),
    "method_settings": _of(
        s.Unique[s.Text], "numbers of methods, as METHOD.number=value or number=value",
        ["DANN.discriminator_width=1024", "second_stage=updates"],
    ),
    # data sets from class names
    "forms": _of(s.Some[s.FormName], "forms of prompts", ["name", "definition"]),
    "guidance_scales": _of(
        s.Some[Annotated[float, Field(ge=0, le=100)]], "guidance of the clones", [2.0, 7.5]
    ),
    "sizes": _of(
        s.Some[Annotated[float, Field(gt=0, le=1000)]], "sizes of clones, in real sets", [1.0, 10.0]
    ),
    "model": _of(Place, "text-to-image pipeline: folder or Hub name; '': the book's", "my_model/"),
    "class_words": _of(Place, "file of class names with definitions; '': the book's", "words.csv"),
    "other_tests": _of(
        s.Unique[s.Text], "folders in place of made tests, as NAME=FOLDER", ["v2=imagenetv2/"]
    ),
    "num_inference_steps": _of(s.Count, "steps in which an image is made", 50, le=10_000),
    "updates": _of(s.Whole, "training steps; 0: as many epochs as training_settings say", 600),
    "view_settings": _of(s.Unique[s.Text], "settings of the crops", ["local_views: 8"]),
    "fine_data": _of(Named, "data set of many classes", "caltech10_fine"),
    "real_networks": _of(
        s.Unique[s.Text], "published networks to rate as well, as NAME=timm:NETWORK",
        ["PyTorch=timm:resnet50.tv_in1k"],
    ),
    "transfer_sets": _of(s.Some[Named], "sets that frozen features are probed on", ["digits"]),
    # a CLIP that is told of classes
    "encoders": _of(
        Annotated[s.Some[s.Text], Field(max_length=4)], "CLIPs; most parts take the first",
        ["RN50:openai", "ViT-B-16:openai"],
    ),
    "encoder": _of(s.Text, "CLIP: web-clip, NETWORK:TAG, or local-dir:FOLDER", "RN50:openai"),
    "template": _of(s.Text, "of texts about classes: a name, or a text with {}", "a photo of a {}"),
    "language_model": _of(Place, "word-to-sentence T5: folder or Hub name; '': a grammar", "t5/"),
    "sentences": _of(s.Count, "sentences a class", 200, le=10_000),
    "images_per_class": _of(Images, "generated images of each class", 2000),
    "kept_share": _of(Annotated[s.Share, Field(gt=0)], "of each class, kept by the filter", 0.4),
    "loss": _of(Literal["CE", "SCE"], "of generated images", "SCE"),
    "chosen_by": _of(
        Literal["last", "validation"], "which measurement of a training counts", "validation"
    ),
    "tuning_settings": _of(s.Unique[s.Text], "of classifier tuning", ["batch_size: 128"]),
    "tip_settings": _of(s.Unique[s.Text], "of Tip-Adapter-F", ["epochs: 20"]),
    "coop_settings": _of(s.Unique[s.Text], "of CoOp", ["length: 16"]),
    "encoder_target": _of(Named, "data set on which encoders are tuned", "eurosat"),
    "encoder_rate": _of(Rate, "step size of the optimiser for the encoder", 0.0005),
    "scratch_target": _of(Named, "data set that is learned from random weights", "cifar100"),
    "scratch_images": _of(Images, "generated images a class for it, in size 1", 500),
    "real_counts": _of(s.Some[Images], "real images a class, one after the other", [1, 16, 64]),
    # pretraining on images by words
    "starts": _of(
        s.Some[Literal["none", "real", "synthetic", "real+synthetic"]],
        "what a network has learned before", ["none", "synthetic"],
    ),
    "agnostic_sizes": _of(
        s.Some[Annotated[float, Field(gt=0, le=1000)]],
        "amounts of images of other labels, in pretrain_images", [1.0, 2.0, 3.0],
    ),
    "label_spaces": _of(
        s.Some[s.Text], "two sets of other labels, the smaller first: SET or file, with :COUNT",
        ["cifar100:50", "cifar100"],
    ),
    "pretrain_images": _of(s.Count, "photographs to pretrain on, and generated images at 1", 1000),
    "real_weights": _of(
        s.Unique[s.Text], "published weights of real pretraining, METHOD=FILE or METHOD=imagenet",
        ["supervised=imagenet"],
    ),
    "synthetic_size": _of(s.Zero | s.Side, "side of generated images; 0: of the photographs", 224),
    "second_backbone": _of(s.Text, "network of Table 9: a timm name", "deit_small_patch16_224"),
    "moco_settings": _of(s.Unique[s.Text], "of pretraining by MoCo v2", ["queue: 512"]),
    "finetune_settings": _of(s.Unique[s.Text], "of finetuning on photographs", ["steps: 300"]),
    "detection_data": _of(Place, "folder of PASCAL VOC's archives; '': made scenes", "data/"),
    "scene_counts": _of(list[Images], "made scenes to learn from, and to test on", [800, 400]),
    "scene_settings": _of(s.Unique[s.Text], "of made scenes", ["size: 64"]),
    "detector_settings": _of(s.Unique[s.Text], "of the detector", ["kind: fcos"]),
    "detect_settings": _of(s.Unique[s.Text], "of its training", ["steps: 400"]),
    # models and measures
    "backbone": _of(s.Text, "classifier: small_cnn or a timm name", "small_cnn"),
    "pretrained": _of(bool, "start from ImageNet weights", False),
    "extractor": _of(Features, "feature extractor of the measures", "efficientnet_lite0"),
    "neighbours": _of(s.Count, "k of the k-nearest-neighbour measures", 5, le=10_000),
    # what to run and where
    "sources": _of(Sources, "where training images come from", ["real", "gan"]),
    "device": _of(Device, "where to compute", "auto"),
    "threads": _of(int, "CPU threads; 0: torch's choice", 1, ge=0, le=4096),
    "workers": _of(s.Count, "processes that train side by side; they change no number", 4, le=256),
    "rows": _of(RowsFile, "file that rows go to; '': _build/rows", "rows.jsonl"),
}  # fmt: skip


_CONTROLS = "controls to run as well"
_METHODS, _PARTS = "methods to run", "parts of the chapter's experiment to run"

# Names whose type or range is a chapter's own.
CHAPTERS: dict[str, dict[str, Any]] = {
    "12_not_mutual": {
        "controls": _of(
            s.Unique[Literal["unfiltered", "guided", "filtered_real"]], _CONTROLS, ["unfiltered"]
        ),
    },
    "14_what_an_image_teaches": {
        "controls": _of(
            s.Unique[Literal["unfiltered", "guided", "same_images"]], _CONTROLS, ["unfiltered"]
        ),
        "parts": _of(s.Some[Literal["costs", "adding"]], _PARTS, ["costs", "adding"]),
        "equal": _of(Literal["steps", "epochs"], "what all trainings have in common", "steps"),
    },
    "15_pretrained_guidance": {
        "parts": _of(
            s.Some[
                Literal["scratch", "pretrained", "other_architecture", "sensitivity", "readings"]
            ], _PARTS, ["scratch"],
        ),
        "methods": _of(s.Some[Guided], _METHODS, ["plain", "PG-KL"]),
    },
    "16_real_guidance": {
        "parts": _of(
            s.Some[Literal["methods", "same_images", "real_images", "sensitivity", "readings"]],
            _PARTS, ["methods", "readings"],
        ),
        "methods": _of(s.Some[Literal["plain", Mixing]], _METHODS, ["Aug", "RG"]),
        "lambda_3": _of(s.Some[s.Weight], f"{_LAMBDA}; {_CHOSEN}", [1.0]),
        "shots": _of(s.Zero | Images, "real images a class where there are few; 0: all", 10),
        "n_real": _of(s.Some[Images], "real images a class, one after the other", [5, 10]),
        "synthetic_ratio": _of(float, "generated images a real one; 0: all", 1.0, ge=0, le=1000),
    },
    "21_zero_shot": {
        "parts": _of(
            s.Some[Literal["strategies", "faults", "encoder", "scratch"]], _PARTS, ["strategies"]
        ),
        "targets": _of(
            s.Some[Named], "data sets to recognise, NAME:sketch and NAME:rendition among them",
            ["caltech10", "caltech10:sketch"],
        ),
        "most_images": _of(s.Whole, "generated images of a data set at most; 0: no limit", 2000),
        "epochs": _of(s.Count, "passes over the images that the filter keeps", 30, le=100_000),
        "shares": _of(s.Some[s.Share], "of a CLIP to tune; 0: the classifier", [0.0, 0.5, 1.0]),
    },
    "22_few_shot": {
        "parts": _of(
            s.Some[Literal["methods", "strategies", "phases", "norms"]], _PARTS, ["methods"]
        ),
        "methods": _of(s.Some[Shot], _METHODS, ["zero-shot", "CT w. init"]),
        "shots": _of(s.Some[Images], "real images of each class, one number after the other", [1]),
        "targets": _of(s.Some[Named], "data sets", ["caltech10"]),
    },
    "23_pretraining": {
        "parts": _of(
            s.Some[Literal["aware", "supervised", "contrastive"]], _PARTS, ["aware", "supervised"]
        ),
        "sizes": _of(
            s.Some[Annotated[float, Field(gt=0, le=1000)]],
            "amounts of images of the task's labels, in pretrain_images", [1.0, 2.0, 3.0],
        ),
        "real_source": _of(Named, "photographs of other classes", "caltech101_others"),
        "recipe": _of(Literal["book", "published"], "settings that the lists change", "book"),
        "pretrain_settings": _of(
            s.Unique[s.Text], "of pretraining with labels", ["steps: 500"]
        ),
    },
    "31_prompts": {
        "parts": _of(
            s.Some[Literal["prompts", "crops", "filter"]], _PARTS, ["prompts", "crops"]
        ),
    },
    "32_scale_and_shift": {
        "parts": _of(s.Some[Literal["sizes", "classes", "tests"]], _PARTS, ["sizes"]),
    },
    "33_transfer": {
        "parts": _of(s.Some[Literal["sizes", "classes"]], _PARTS, ["sizes"]),
    },
    "41_dip_few_shot": {
        "parts": _of(
            s.Some[
                Literal[
                    "methods", "stylegan2", "labels", "losses", "amount", "controls", "alike"
                ]
            ], _PARTS, ["methods"],
        ),
        "methods": _of(s.Some[FewShot], _METHODS, ["scratch", "DiffAugment"]),
        "amount_methods": _of(
            s.Some[Adversarial], "methods to learn other numbers of images by", ["DiffAugment"]
        ),
        "architecture": _of(Residual, "which GAN", "biggan"),
        "image_size": _of(s.Side, "side in pixels, a power of two", 16, le=256),
    },
    "42_dip_limited_data": {
        "parts": _of(
            s.Some[Literal["finetuning", "fractions", "scores", "stylegan2"]], _PARTS,
            ["fractions"],
        ),
        "methods": _of(s.Some[LimitedData], _METHODS, ["scratch", "DiffAugment"]),
        "target_images": _of(
            list[Annotated[Images, Field(ge=2)]], "images of each target to train on", [400],
            min_length=1,
        ),
        "method_settings": _of(
            s.Unique[s.Text], "settings of training that a method of Table 2 has of its own",
            ["DiffAugment.batch_size=32"],
        ),
        "share_steps": _of(s.Count, "training steps on a share", 1000),
        "architecture": _of(Residual, "which GAN", "biggan"),
        "image_size": _of(s.Side, "side in pixels, a power of two", 16, le=256),
    },
    "43_dip_large_scale": {
        "parts": _of(s.Some[Literal["methods", "priors"]], _PARTS, ["methods"]),
        "methods": _of(s.Some[Whole], _METHODS, ["baseline", "DIP"]),
        "architecture": _of(Residual, "which GAN", "biggan"),
        "image_size": _of(s.Side, "side in pixels, a power of two", 32, le=256),
    },
    "44_inversion_and_editing": {
        "parts": _of(
            s.Some[
                Literal[
                    "shown", "inversion", "starts", "freedom", "others", "untrained",
                    "variation", "editing",
                ]
            ], _PARTS, ["shown", "editing"],
        ),
        "architecture": _of(Residual, "which GAN", "biggan"),
        "image_size": _of(s.Side, "side in pixels, a power of two", 16, le=256),
    },
    "52_transfer_to_few_images": {
        "parts": _of(s.Some[Literal["synthesizers", "sources"]], _PARTS, ["synthesizers"]),
        "image_size": _of(s.Side, "side in pixels, a power of two", 16, le=256),
    },
    "53_why_it_works": {
        "parts": _of(
            s.Some[Literal["ablation", "shares", "filters"]], _PARTS, ["shares", "filters"]
        ),
        "methods": _of(s.Some[Big], _METHODS, ["BigGAN", "BigGAN+DiffAug"]),
    },
    "61_audit": {
        "samples": _of(Named, "generated images: gan, diffusion, a folder, an .npz", "gan"),
        "test": _of(Place, "real images to test on; '': those of the data", "my_test"),
        "most_images": _of(int, "images of each set, for the measures", 1000, ge=50, le=100_000),
        "remedies": _of(
            s.Some[Literal[Mixing, Pretrained]], "ways to train, besides mixing",
            ["RG", "DANN"],
        ),
    },
    "62_claims": {"scales": _of(s.Unique[s.Text], "scales to show, a column each", ["mini"])},
}  # fmt: skip


def kind_of(chapter: str, name: str, text: str) -> Any:
    """Return the annotated type of a name in a chapter; of any other name, what ``text`` says."""
    return CHAPTERS.get(chapter, {}).get(name, VOCABULARY.get(name, TYPES[text]))


def help_of(chapter: str, name: str) -> str:
    """Return what a name means in a chapter, "" where the vocabulary does not have it."""
    return FieldInfo.from_annotation(kind_of(chapter, name, "str")).description or ""
