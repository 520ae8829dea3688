"""Nothing that a stranger sends makes a parser raise what is not ours, or reads two ways: a few damaged inputs of each kind.

`make fuzz` does the same for minutes. What either finds becomes a file of `tests/corpus/finds/`, and a seed.
"""

import pytest
from fuzz.damaging import Edit, damaged, edits
from fuzz.fuzz_targets import FINDS, TARGETS, seeds
from hypothesis import given, settings
from hypothesis import strategies as st

EXAMPLES = 60
OTHERS = {"settings": 25, "head": 200}


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_good_nearly_good_or_was_found_before_keeps_every_promise(name: str) -> None:
    for seed in seeds(name):
        TARGETS[name](seed)


@pytest.mark.parametrize("name", TARGETS)
def test_a_little_damage_breaks_no_promise(name: str) -> None:
    @settings(max_examples=OTHERS.get(name, EXAMPLES), derandomize=True, deadline=None)
    @given(st.sampled_from(seeds(name)), edits())
    def damage_breaks_no_promise(seed: bytes, damage: list[Edit]) -> None:
        TARGETS[name](damaged(seed, damage))

    damage_breaks_no_promise()


def test_every_find_has_a_target() -> None:
    assert {folder.name for folder in FINDS.glob("*")} <= set(TARGETS)
