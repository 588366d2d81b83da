"""Bad input is told with the parameter that it was given as."""

from __future__ import annotations

import pytest

from synthbook.errors import InputError, fault_of


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("no set 'x'; give another", "fine_data: no set 'x'; give another"),
        ("'x' is no set, which fine_data takes", "'x' is no set, which fine_data takes"),
        ("image_size = 0 and 'x' has several", "image_size = 0 and 'x' has several"),
    ],
)
def test_a_fault_begins_with_its_parameter_unless_it_names_one(said: str, told: str) -> None:
    with pytest.raises(InputError) as found, fault_of("fine_data"):
        raise InputError(said)
    assert str(found.value) == told


def test_other_errors_pass_and_no_error_is_none() -> None:
    with pytest.raises(KeyError), fault_of("fine_data"):
        raise KeyError("x")
    with fault_of("fine_data"):
        pass
