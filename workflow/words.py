"""Take the words of the classes from WordNet 3.0: lemmas, parents, definitions and senses.

    python workflow/words.py WORDNET --imagenet FILE --imagenet100 FILE --places FILE [--out FOLDER]

WORDNET is the folder of data.noun and index.noun (/usr/share/wordnet of Debian's wordnet-base).
``--imagenet`` is the usual imagenet_class_index.json, {"0": ["n01440764", "tench"], ...};
``--imagenet100`` has a WordNet id a line, ``--places`` a scene a line (/a/airfield). What is
written replaces what lies in src/synthbook/generate/words:

- ``synsets.csv``: each synset's lemmas, how many noun senses each of these has, the lemmas of all
  parents, and the definition (the gloss without its examples);
- ``classes.csv``: the sets of classes, each class with its synset, or with words of our own;
- ``senses.csv``: all senses of the ambiguous names, of all sets but ImageNet's 1,000;
- ``scenes.txt``: the scenes of Places, as the words of a prompt.

Which sense a name of Caltech-101 or CIFAR has was chosen by hand, by its gloss and its pictures,
and stands below: ``bass.8`` is the eighth sense of bass in index.noun.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from synthbook.data.bundled import CLASSES, KINDS
from synthbook.errors import InputError
from synthbook.generate.wordnet import COLUMNS, FOLDER, JOIN
from synthbook.store import atomic_write


class Own(NamedTuple):
    """Words of our own, where WordNet has none, or where two classes share a synset.

    ``sense`` is the synset; without it ``parent`` and ``definition`` are given.
    """

    lemmas: str
    sense: str = ""
    parent: str = ""
    definition: str = ""


# Where a name is no lemma, or not the first of its senses is meant.
# fmt: off
CALTECH: dict[str, str | Own] = {
    "Faces_easy": "face.1", "Leopards": "leopard.2", "Motorbikes": "motorcycle.1",
    "airplanes": "airplane.1", "barrel": "barrel.2", "bass": "bass.8", "beaver": "beaver.7",
    "binocular": "binoculars.1",
    "buddha": "buddha.1",  # statues: of him who founded the religion, as most are
    "car_side": "car.1",
    "ceiling_fan": Own("ceiling fan", parent="fan.1",
                       definition="a fan with broad blades that hangs from the ceiling"),
    "cougar_body": "cougar.1",
    "cougar_face": Own("cougar face", "cougar.1"),
    "crayfish": "crayfish.3",
    "crocodile_head": Own("crocodile head", "crocodile.1"),
    "dalmatian": "dalmatian.2", "dolphin": "dolphin.2", "emu": "emu.2",
    "flamingo_head": Own("flamingo head", "flamingo.1"),
    "garfield": Own("Garfield", parent="fictional_character.1",  # WordNet has the president only
                    definition="a fictional cat in a comic strip drawn by Jim Davis"),
    "hedgehog": "hedgehog.2",  # the first sense is the porcupine
    "inline_skate": "in-line_skate.1",
    "lamp": "lamp.2",  # a piece of furniture: nearly all stand on a table or on the floor
    "lobster": "lobster.2",
    "menorah": "menorah.2",  # nine branches; some of the pictures show one with seven
    "nautilus": "nautilus.3", "octopus": "octopus.2", "pyramid": "pyramid.3",
    "schooner": "schooner.2", "scorpion": "scorpion.3", "sea_horse": "sea_horse.2",
    "stop_sign": Own("stop sign", parent="street_sign.1",
                     definition="a red sign that tells drivers to stop"),
    "tick": "tick.2", "water_lilly": "water_lily.1", "wild_cat": "wildcat.3",
    "wrench": "wrench.3",
    "yin_yang": Own("yin yang", parent="symbol.1",
                    definition="a circle of a dark and a light half, the sign of yin and yang"),
}
KIND_SENSES: dict[str, str | Own] = {"plant": "plant.2", "instrument": "instrument.6"}
CIFAR10: dict[str, str | Own] = dict.fromkeys(
    ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"), ""
)
# Superclass -> its sense, and the five classes with theirs; "" is the first sense of the name.
CIFAR100: dict[str, tuple[str | Own, dict[str, str | Own]]] = {
    "aquatic_mammals": ("aquatic_mammal.1", {
        "beaver": "beaver.7", "dolphin": "dolphin.2", "otter": "otter.2", "seal": "seal.9",
        "whale": "whale.2"}),
    "fish": ("fish.1", {
        "aquarium_fish": Own("aquarium fish", parent="fish.1",
                             definition="a small and often colorful fish kept in an aquarium"),
        "flatfish": "flatfish.2", "ray": "ray.7", "shark": "shark.1", "trout": "trout.2"}),
    "flowers": ("flower.1", {
        "orchid": "", "poppy": "", "rose": "", "sunflower": "", "tulip": ""}),
    "food_containers": (
        Own("food container", parent="container.1", definition="a container for food or drink"),
        {"bottle": "", "bowl": "", "can": "", "cup": "", "plate": "plate.4"}),
    "fruit_and_vegetables": ("produce.1", {
        "apple": "", "mushroom": "mushroom.3",  # fungi that grow in the wild, none on a plate
        "orange": "", "pear": "", "sweet_pepper": "sweet_pepper.2"}),
    "household_electrical_devices": (
        Own("household electrical device", parent="electrical_device.1",
            definition="an electrical device that is used at home"),
        {"clock": "", "keyboard": "computer_keyboard.1", "lamp": "lamp.2", "telephone": "",
         "television": "television.3"}),
    "household_furniture": ("furniture.1", {
        "bed": "", "chair": "", "couch": "", "table": "table.2", "wardrobe": ""}),
    "insects": ("insect.1", {
        "bee": "", "beetle": "", "butterfly": "", "caterpillar": "", "cockroach": ""}),
    "large_carnivores": (
        Own("large carnivore", parent="carnivore.1",
            definition="a large mammal that eats other animals"),
        {"bear": "", "leopard": "leopard.2", "lion": "", "tiger": "tiger.2", "wolf": ""}),
    "large_man-made_outdoor_things": (
        Own("large man-made outdoor thing", parent="structure.1",
            definition="something large that people have built outdoors"),
        {"bridge": "", "castle": "castle.2", "house": "", "road": "", "skyscraper": ""}),
    "large_natural_outdoor_scenes": (
        Own("large natural outdoor scene", parent="scenery.2", definition="nature seen from afar"),
        {"cloud": "cloud.2", "forest": "forest.2", "mountain": "", "plain": "", "sea": ""}),
    "large_omnivores_and_herbivores": (
        Own("large omnivore, large herbivore", parent="mammal.1",
            definition="a large mammal that eats plants, some of them animals too"),
        {"camel": "", "cattle": "", "chimpanzee": "", "elephant": "", "kangaroo": ""}),
    "medium_mammals": (
        Own("medium-sized mammal", parent="mammal.1",
            definition="a mammal about as large as a fox"),
        {"fox": "", "porcupine": "", "possum": "", "raccoon": "raccoon.2", "skunk": "skunk.4"}),
    "non-insect_invertebrates": (
        Own("non-insect invertebrate", parent="invertebrate.1",
            definition="an animal without a backbone that is no insect"),
        {"crab": "", "lobster": "lobster.2", "snail": "", "spider": "", "worm": ""}),
    "people": ("person.1", {"baby": "", "boy": "", "girl": "girl.2", "man": "", "woman": ""}),
    "reptiles": ("reptile.1", {
        "crocodile": "", "dinosaur": "", "lizard": "", "snake": "", "turtle": "turtle.2"}),
    "small_mammals": (
        Own("small mammal", parent="mammal.1", definition="a mammal no larger than a rabbit"),
        {"hamster": "", "mouse": "", "rabbit": "", "shrew": "shrew.2", "squirrel": ""}),
    "trees": ("tree.1", {
        "maple_tree": "maple.2", "oak_tree": "", "palm_tree": "", "pine_tree": "",
        "willow_tree": ""}),
    "vehicles_1": ("vehicle.1", {
        "bicycle": "", "bus": "", "motorcycle": "", "pickup_truck": "", "train": ""}),
    "vehicles_2": ("vehicle.1", {
        "lawn_mower": "", "rocket": "", "streetcar": "", "tank": "", "tractor": ""}),
}
# General words in the captions of the miniature's web (generate/captions.py), by their sense.
GENERAL: dict[str, str | Own] = {
    "aircraft": "", "amphibian": "amphibian.3", "animal": "", "boat": "", "building": "",
    "carnivore": "", "container": "", "crustacean": "", "device": "", "fruit": "",
    "furniture": "", "fungus": "", "herbivore": "", "invertebrate": "", "landscape": "",
    "mammal": "", "measuring instrument": "", "motor vehicle": "", "pet": "", "plant": "plant.2",
    "rodent": "", "sea animal": "", "structure": "", "tableware": "", "vegetable": "",
    "vehicle": "",
}
# fmt: on


class Synset(NamedTuple):
    """A line of data.noun: lemmas, ids of the parents (instances of them too), and the gloss."""

    lemmas: tuple[str, ...]
    parents: tuple[str, ...]
    gloss: str


def parse(line: str) -> tuple[str, Synset]:
    """Return id ("n02086910") and content of a line of data.noun (its format is wndb(5WN))."""
    head, _, gloss = line.partition(" | ")
    fields = head.split()
    count = int(fields[3], 16)
    lemmas = tuple(word.replace("_", " ") for word in fields[4 : 4 + 2 * count : 2])
    pointers = fields[5 + 2 * count :]
    parents = tuple(
        f"n{pointers[k + 1]}" for k in range(0, len(pointers), 4) if pointers[k] in ("@", "@i")
    )
    return f"n{fields[0]}", Synset(lemmas, parents, gloss.strip())


def definition(gloss: str) -> str:
    """Return a gloss without its examples: what stands in quotation marks after ";", ":" or ",".

    With whom they are by, as in ``domestic animals; "thy cattle"- Bible``.
    """
    without = re.sub(r'(^|[;:,])\s*"[^"]*"(\s*-+\s*[^;]*)?', "", gloss)
    return " ".join(without.split()).strip(" ;:,")


class WordNet:
    """The nouns of WordNet 3.0, from the folder of data.noun and index.noun."""

    def __init__(self, folder: Path) -> None:
        try:
            data = (folder / "data.noun").read_text(encoding="utf-8")
            index = (folder / "index.noun").read_text(encoding="utf-8")
        except OSError as error:
            raise InputError(
                f"{error.filename} cannot be read ({error.strerror}); give the folder of data.noun "
                "and index.noun, which is /usr/share/wordnet where wordnet-base is installed"
            ) from error
        if "WordNet 3.0 Copyright" not in data[:2000]:
            raise InputError(f"{folder} is not of WordNet 3.0, which ImageNet's ids are from")
        self.synsets = dict(parse(line) for line in data.splitlines() if line[:1] != " ")
        self.index: dict[str, list[str]] = {}
        for line in index.splitlines():
            if line[:1] != " ":
                word, _, count, *rest = line.split()
                self.index[word] = [f"n{offset}" for offset in rest[-int(count) :]]

    def senses(self, word: str) -> list[str]:
        """Return the ids of a word's senses, in WordNet's order; [] if it has none."""
        return self.index.get(word.lower().replace(" ", "_"), [])

    def find(self, sense: str) -> str:
        """Return the id of ``bass.8``."""
        word, _, number = sense.rpartition(".")
        return self.senses(word)[int(number) - 1]

    def parents(self, synset: str) -> str:
        """Return the lemmas of all parents, in order, none twice."""
        found = (w for p in self.synsets[synset].parents for w in self.synsets[p].lemmas)
        return JOIN.join(dict.fromkeys(found))


def classes(wordnet: WordNet, lists: dict[str, list[str]]) -> Iterator[dict[str, str]]:
    """Yield the rows of classes.csv; ``lists`` are the WordNet ids of ImageNet's sets."""

    def row(of: str, name: str, sense: str | Own, group: str = "") -> dict[str, str]:
        own = sense if isinstance(sense, Own) else Own("", sense)
        synset = ""
        if not own.parent:
            synset = wordnet.find(own.sense or f"{name.replace(' ', '_')}.1")
        parent = wordnet.synsets[wordnet.find(own.parent)].lemmas if own.parent else ()
        return {
            "set": of, "name": name, "synset": synset, "lemmas": own.lemmas,
            "parents": JOIN.join(parent), "definition": own.definition, "group": group,
        }  # fmt: skip

    for of, ids in lists.items():
        yield from ({**dict.fromkeys(COLUMNS["classes"], ""), "set": of, "name": i, "synset": i}
                    for i in ids)  # fmt: skip
    kind_of = {name: kind for kind, names in KINDS.items() for name in names}
    for name in CLASSES:
        yield row("caltech101", name, CALTECH.get(name, ""), kind_of.get(name, ""))
    for kind in KINDS:
        yield row("caltech10", kind, KIND_SENSES.get(kind, ""))
    for name, sense in CIFAR10.items():
        yield row("cifar10", name, sense)
    fine = {name: (sense, coarse) for coarse, (_, names) in CIFAR100.items()
            for name, sense in names.items()}  # fmt: skip
    for name in sorted(fine):
        yield row("cifar100", name, *fine[name])
    for coarse, (sense, _) in CIFAR100.items():
        yield row("cifar100_coarse", coarse, sense)
    for name, sense in GENERAL.items():
        yield row("general", name, sense)


def synsets(wordnet: WordNet, ids: Iterable[str]) -> Iterator[dict[str, str]]:
    """Yield the rows of synsets.csv, by id."""
    for synset in sorted(set(ids)):
        found = wordnet.synsets[synset]
        if any(JOIN.strip() in lemma for lemma in found.lemmas):
            raise InputError(f"a lemma of {synset} has a comma: {found.lemmas}")
        yield {
            "synset": synset,
            "lemmas": JOIN.join(found.lemmas),
            "senses": " ".join(str(len(wordnet.senses(word))) for word in found.lemmas),
            "parents": wordnet.parents(synset),
            "definition": definition(found.gloss),
        }


def senses(wordnet: WordNet, rows: Iterable[dict[str, str]]) -> Iterator[dict[str, str]]:
    """Yield the rows of senses.csv: of each class, those of its name and of its first lemma.

    Not of a word whose only sense is the class's, which synsets.csv has.
    """
    words = set()
    for row in rows:
        lemmas = row["lemmas"].split(JOIN) if row["lemmas"] else wordnet.synsets[row["synset"]][0]
        for word in (row["name"], lemmas[0]):
            if wordnet.senses(word) not in ([], [row["synset"]]):
                words.add(word.lower().replace("_", " "))
    for word in sorted(words):
        for synset in wordnet.senses(word):
            yield {
                "word": word,
                "synset": synset,
                "lemmas": JOIN.join(wordnet.synsets[synset].lemmas),
                "parents": wordnet.parents(synset),
                "definition": definition(wordnet.synsets[synset].gloss),
            }


def scene(line: str) -> str:
    """Return the words of a scene of Places: "/a/arena/hockey" is "arena hockey"."""
    return re.sub(r"^/?[a-z]/", "", line.strip()).replace("/", " ").replace("_", " ")


def write(out: Path, wordnet: WordNet, lists: dict[str, list[str]], places: list[str]) -> None:
    """Write the four tables."""
    rows = list(classes(wordnet, lists))
    tables = {
        "synsets": synsets(wordnet, (row["synset"] for row in rows if row["synset"])),
        "classes": rows,
        "senses": senses(wordnet, (r for r in rows if r["set"] not in ("imagenet", "general"))),
    }
    for name, table in tables.items():
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS[name], lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)
        _put(out / f"{name}.csv", text.getvalue())
    _put(out / "scenes.txt", "".join(f"{scene(line)}\n" for line in places))


def _put(path: Path, text: str) -> None:
    with atomic_write(path, "w") as stream:
        stream.write(text)
    print(f"{path.name}: {text.count(chr(10)):,} lines, {len(text) / 1e3:.0f} kB")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("wordnet", type=Path, help="folder of data.noun and index.noun")
    for name in ("imagenet", "imagenet100", "places"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=FOLDER)
    given = parser.parse_args()
    try:
        index = json.loads(given.imagenet.read_text())
        lists = {
            "imagenet": [index[str(k)][0] for k in range(len(index))],
            "imagenet100": given.imagenet100.read_text().split(),
        }
        write(given.out, WordNet(given.wordnet), lists, given.places.read_text().split())
    except (InputError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
