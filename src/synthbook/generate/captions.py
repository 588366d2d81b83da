"""Captions of the miniature's web: CIFAR-10 and CIFAR-100 told in words, by seed and index.

The text-to-image model that comes with the book learns from them, and so does its CLIP. They never
describe a photograph of the bundle, whose words they have in part. Templates, scenes and general
words are chosen here; lemmas, parents and definitions are WordNet's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np

from synthbook.errors import InputError, check_choice
from synthbook.generate.wordnet import JOIN, ClassWords, class_words
from synthbook.randomness import numpy_generator

WEB = ("cifar10", "cifar100")
# {c} a name and {a} the same with its article, {l} all lemmas, {p} the lemmas of the parents,
# {d} the definition, {w} a general word and {h} the same with its article, {b} a scene, {g} the
# colour of the ground. The first five are the forms of `prompts`.
TEMPLATES = (
    "{l}", "{l}, {p}", "{l}, {d}", "{l}, {p} inside {b}", "a photo of a {l}",
    # names
    "{c}", "{a}", "just {a}", "look, {a}", "here is {a}", "this is {a}",
    "{c}, {w}", "{c} ({w})", "{w}: {c}", "{a} is {h}", "{h} called {c}", "{h}", "{c}, {p}",
    "{c}: {d}", "{a}, which means {d}", "{w}, {d}",
    # photographs
    "a photo of {a}", "a photograph of {a}", "a colour photo of {a}", "a snapshot of {a}",
    "a picture of {a}", "a small picture of {a}", "a coarse picture of {a}", "a thumbnail of {a}",
    "a square photo of {a}", "a picture that shows {a}", "a view of {a}", "{a} in a photo",
    "{a} in the middle of the picture", "my picture of {a}", "a photo of {h}",
    "a photo of {a}, {h}", "a picture of {h}: {c}",
    # scenes
    "{a} inside {b}", "{c} inside {b}", "{c}, {w} inside {b}", "{h} inside {b}",
    "a photo of {a} inside {b}", "{a} near {b}", "{b} with {a}", "{c}, {b}", "{b}",
    # grounds
    "{a} on {g} ground", "{c}, {g} ground", "a photo of {a}, {g} around it", "{h} on {g} ground",
)  # fmt: skip
# What the border of an image looks like -> scenes of Places that may look so. Nobody told what is
# to be seen in a picture of CIFAR: a scene in a caption means a colour, and not the place.
GROUNDS: dict[str, tuple[str, ...]] = {
    "white": (
        "snowfield", "ice floe", "ice shelf", "iceberg", "glacier", "mountain snowy", "ski slope",
        "ice skating rink outdoor", "clean room", "hospital room", "operating room", "art gallery",
    ),
    "black": (
        "catacomb", "grotto", "burial chamber", "bank vault", "movie theater indoor",
        "home theater", "stage indoor", "discotheque", "elevator shaft", "basement",
    ),
    "blue": (
        "sky", "ocean", "coast", "wave", "lagoon", "underwater ocean deep", "aquarium", "harbor",
        "islet", "lake natural", "pier", "swimming pool outdoor",
    ),
    "green": (
        "lawn", "pasture", "field wild", "forest broadleaf", "forest path", "rainforest",
        "bamboo forest", "golf course", "vegetable garden", "botanical garden", "orchard", "park",
        "corn field", "valley", "yard", "swamp",
    ),
    "brown": (
        "desert sand", "desert road", "canyon", "badlands", "butte", "wheat field", "hayfield",
        "barn", "stable", "bullring", "sandbox", "excavation", "attic", "sauna",
    ),
    "grey": (
        "street", "highway", "alley", "crosswalk", "parking lot", "driveway", "runway", "bridge",
        "railroad track", "downtown", "construction site", "industrial area", "garage indoor",
        "cliff",
    ),
}  # fmt: skip
# General words of a class or of its superclass, all of the set "general" of `class_words`.
GENERAL: dict[str, tuple[str, ...]] = {
    "airplane": ("aircraft", "vehicle"), "automobile": ("motor vehicle", "vehicle"),
    "bird": ("animal",), "cat": ("mammal", "animal", "pet"),
    "deer": ("mammal", "animal", "herbivore"), "dog": ("mammal", "animal", "pet"),
    "frog": ("amphibian", "animal"), "horse": ("mammal", "animal", "herbivore"),
    "ship": ("boat", "vehicle"), "truck": ("motor vehicle", "vehicle"),
    "aquatic_mammals": ("mammal", "animal"), "fish": ("animal",), "flowers": ("plant",),
    "fruit_and_vegetables": (), "food_containers": ("container", "tableware"),
    "household_electrical_devices": ("device",), "household_furniture": (), "insects": ("animal",),
    "large_carnivores": ("carnivore", "mammal", "animal"),
    "large_man-made_outdoor_things": ("structure",),
    "large_natural_outdoor_scenes": ("landscape",),
    "large_omnivores_and_herbivores": ("mammal", "animal"), "medium_mammals": ("mammal", "animal"),
    "non-insect_invertebrates": ("invertebrate", "animal"), "people": (), "reptiles": ("animal",),
    "small_mammals": ("mammal", "animal"), "trees": ("plant",), "vehicles_1": (), "vehicles_2": (),
}  # fmt: skip
BESIDES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("dolphin", "seal", "whale", "flatfish", "ray", "shark"), ("sea animal",)),
    **dict.fromkeys(("crab", "lobster"), ("crustacean", "sea animal")),
    **dict.fromkeys(("apple", "orange", "pear"), ("fruit",)),
    **dict.fromkeys(("camel", "cattle", "elephant", "kangaroo"), ("herbivore",)),
    **dict.fromkeys(("beaver", "hamster", "mouse", "porcupine", "squirrel"), ("rodent",)),
    **dict.fromkeys(("castle", "house", "skyscraper"), ("building",)),
    **dict.fromkeys(("bus", "motorcycle", "pickup_truck"), ("motor vehicle",)),
    "sweet_pepper": ("vegetable",), "mushroom": ("fungus",), "lamp": ("furniture",),
    "clock": ("measuring instrument",),
}  # fmt: skip
NO_ARTICLE = ("cattle", "cows", "kine", "oxen", "furniture", "produce", "tableware")


def grounds(images: np.ndarray) -> list[str]:
    """Return which of `GROUNDS` the border of each image looks like; uint8 [N, H, W, 3].

    By the mean colour of the outermost eighth on each side.
    """
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8:
        raise InputError(
            f"images of {images.dtype} and shape {images.shape}; give uint8 [N, H, W, 3]"
        )
    height, width = images.shape[1:3]
    ring = np.ones((height, width), dtype=bool)
    ring[height // 8 : -(height // 8) or None, width // 8 : -(width // 8) or None] = False
    red, green, blue = images[:, ring if ring.any() else ~ring].mean(axis=1).T
    low, high = np.minimum(np.minimum(red, green), blue), np.maximum(np.maximum(red, green), blue)
    looks = {
        "white": low > 200,
        "black": high < 50,
        "blue": (blue > red + 15) & (blue >= green),
        "green": (green > red + 5) & (green > blue + 5),
        "brown": red > blue + 20,
    }
    return np.select(list(looks.values()), list(looks), "grey").tolist()


@cache
def _web(of: str) -> tuple[ClassWords, ...]:
    check_choice("web", of, WEB)
    return class_words(of)


def names(words: ClassWords) -> tuple[str, ...]:
    """Return what a class is called in captions: the set's name for it, then WordNet's.

    Without those in capitals, most of which are Latin.
    """
    plain = words.name.replace("_", " ")
    return tuple(dict.fromkeys((plain, *(lemma for lemma in words.lemmas if lemma.islower()))))


@cache
def general(words: ClassWords) -> tuple[str, ...]:
    """Return the general words of a class: its superclass, and what stands above."""
    above = {coarse.name: coarse.lemmas[0] for coarse in class_words("cifar100_coarse")}
    first = (above[words.group],) if words.group in above else ()
    if words.group == "large_omnivores_and_herbivores":
        first = ()  # which of both a class is, the superclass does not say
    found = (*first, *GENERAL[words.group or words.name], *BESIDES.get(words.name, ()))
    return tuple(dict.fromkeys(found))


def article(noun: str) -> str:
    """Return a noun with "a" or "an" before it, or without where it takes none."""
    if noun in NO_ARTICLE:
        return noun
    return f"{'an' if noun[:1].lower() in 'aeio' else 'a'} {noun}"


def caption(of: str, label: int, index: int, *, seed: int = 0, ground: str = "") -> str:
    """Return a caption of image ``index`` of a set of `WEB`, whose class is ``label``.

    Template, name, general word and scene are drawn from (seed, of, index), so that each caption
    is made on its own; another seed gives the image another caption. ``label`` is in the order of
    the official files. With a ``ground``, as `grounds` says, the scene is one of those that look
    so; without, it is any, and no caption names a colour.
    """
    words = _web(of)[label]
    rng = numpy_generator(seed, "caption", of, index)
    if ground:
        check_choice("ground", ground, GROUNDS)
    scenes = GROUNDS[ground] if ground else web_scenes()
    template = _pick(TEMPLATES if ground else _without_ground(), rng)
    called = names(words)
    name = called[0] if rng.random() < 0.5 else _pick(called, rng)
    word, scene = _pick(general(words), rng), _pick(scenes, rng)
    return template.format(
        c=name, a=article(name), l=JOIN.join(words.lemmas), p=JOIN.join(words.parents),
        d=words.definition, w=word, h=article(word), b=scene, g=ground,
    )  # fmt: skip


def _pick(of: Sequence[str], rng: np.random.Generator) -> str:
    return of[int(rng.integers(len(of)))]


@cache
def _without_ground() -> tuple[str, ...]:
    return tuple(template for template in TEMPLATES if "{g}" not in template)


@cache
def web_scenes() -> tuple[str, ...]:
    """Return the scenes of Places that captions have."""
    return tuple(scene for scenes in GROUNDS.values() for scene in scenes)


# Which words they have


def _pieces() -> Iterator[str]:
    """Yield all texts that captions are made of."""
    for template in TEMPLATES:
        yield re.sub(r"\{.\}", "\n", template)
    yield from (*GROUNDS, *web_scenes())
    for words in (*_web("cifar10"), *_web("cifar100")):
        yield from (*names(words), *general(words), words.definition)
        yield JOIN.join(words.lemmas)
        yield JOIN.join(words.parents)


@cache
def _text() -> str:
    return "\n".join(dict.fromkeys(_pieces())).lower()


@cache
def vocabulary() -> tuple[str, ...]:
    """Return all words that captions may have, in small letters and in order."""
    return tuple(sorted(set(re.findall(r"\w+(?:['-]\w+)*", _text()))))
