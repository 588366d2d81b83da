"""All verdicts on the recorded rows, with their parts, are those of the engine before this one."""

import gzip
import json
from pathlib import Path

from synthbook.claims.decide import verdicts

FILE = Path(__file__).with_name("golden.json.gz")
JUDGEMENT = ("verdict", "effect", "low", "high", "seeds", "reason")


def test_verdicts_and_parts_are_the_same():
    known = json.loads(gzip.decompress(FILE.read_bytes()))
    found = {
        f"{one.id} {one.scale}": [
            *(getattr(one, name) for name in JUDGEMENT),
            [
                [part.text, part.cell, *(getattr(part, name) for name in JUDGEMENT), part.decides]
                for part in one.parts
            ],
        ]
        for one in verdicts()
    }
    assert len(found) == 278
    assert found == known  # floats too, to the last bit
