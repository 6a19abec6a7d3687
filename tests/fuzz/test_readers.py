"""A sample of the mutated files that `make fuzz` has many of."""

import pytest

from tests.fuzz.readers import NAMES, case, one, read, schemas
from tests.fuzz.seeds import SEEDS


@pytest.fixture(scope="module")
def known():
    return schemas()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore")
def test_what_is_damaged_is_whole_to_begin_with(tmp_path, known, name):
    if name != "labels/labels.csv":
        assert read(name, SEEDS[name], tmp_path, known) == "read"


def test_mutated_files_are_read_or_refused(tmp_path, known):
    outcomes = {number: one(number, tmp_path, known) for number in range(200)}
    harm = {number: what for number, what in outcomes.items() if what not in ("read", "refused")}
    assert not harm, {case(number)[0]: what for number, what in harm.items()}
    assert len(set(outcomes.values())) == 2
