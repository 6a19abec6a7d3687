"""What is said of a data set is true, and what is planted in it is found."""

import numpy as np
import pandas as pd
import pytest
import torch

from tacita import errors
from tacita.data.check import check_trainable
from tacita.modalities.memory import as_dataset
from tacita.report.describe import describe

RNG = np.random.default_rng(0)


def warned(data, held_out=None):
    return "\n".join(describe(data, held_out).warnings)


def test_series_are_described_in_a_line():
    items = [RNG.normal(size=(n, 3)) for n in (96, 310, 150, 400)]
    lines = describe(as_dataset(items, ["a", "b", None, "a"])).lines()
    assert lines[0] == (
        "data      4 series, 3 channels, length 96-400 (median 230), 3 labelled of 4, 2 classes"
    )
    assert lines[1] == "classes   a 2, b 1"


def test_ordered_grades_are_shown_in_their_order():
    text = "\n".join(
        describe(as_dataset(RNG.normal(size=(6, 2)), [10, 2, 3] * 2, task="ordinal")).lines()
    )
    assert "grades    2 2 < 3 2 < 10 2" in text


def test_columns_ids_and_groups_are_named():
    frame = pd.DataFrame(
        {"id": [7, 9, 8], "who": ["s", "t", "s"], "c": ["u", "v", "u"], "a": [0.1, 2, 3]}
    )
    description = describe(as_dataset(frame, group="who"))
    text = "\n".join(description.lines())
    assert description.facts == [("columns", "1 number; c (2 categories)")]
    assert "from column 'id'" in text
    assert "2 of 'who'" in text


def test_clean_data_give_no_warning():
    data = as_dataset(RNG.normal(size=(40, 3)), [0, 1] * 20)
    assert describe(data, as_dataset(RNG.normal(size=(5, 3)))).warnings == []


def test_constant_columns_and_channels_are_found():
    x = RNG.normal(size=(20, 5, 3))
    x[:, :, 1] = 4
    assert "constant channel '1'" in warned(as_dataset(x, [0, 1] * 10))
    frame = pd.DataFrame({"a": RNG.normal(size=9), "same": 1.0, "word": "w"})
    assert "constant columns 'same', 'word'" in warned(as_dataset(frame, [0, 1, 1] * 3))


def test_padding_does_not_hide_a_constant_channel():
    items = [np.full((n, 1), 3.0) for n in (2, 4)]
    assert "constant channel '0'" in warned(as_dataset(items, [0, 1]))


def test_duplicates_and_their_conflicting_labels_are_found():
    x = RNG.normal(size=(30, 4))
    x[[7, 20]] = x[3]
    y = np.array([0, 1] * 15)
    text = warned(as_dataset(x, y))
    assert "2 exact duplicates of an earlier sample (first: #7 = #3)" in text
    assert "1 duplicate with another label (first: #20 is '0', #3 is '1')" in text


def test_labels_that_clash_are_found_behind_a_twin_without_one():
    x = RNG.normal(size=(30, 4))
    x[[7, 20, 25]] = x[3]
    y = np.array([0, 1] * 15)
    y[3] = -1
    text = warned(as_dataset(x, y))
    assert "3 exact duplicates of an earlier sample (first: #7 = #3)" in text
    assert "1 duplicate with another label (first: #20 is '0', #7 is '1')" in text
    assert "1 unlabelled sample the same as a labelled one (first: #3 = #7)" in text


def test_labelled_samples_among_the_unlabelled_are_found():
    x = RNG.normal(size=(30, 4))
    x[[21, 22]] = x[3]
    x[25] = x[24]
    y = np.where(np.arange(30) < 20, np.arange(30) % 2, -1)
    text = warned(as_dataset(x, y))
    assert "3 exact duplicates" in text
    assert "2 unlabelled samples the same as a labelled one (first: #21 = #3)" in text
    # Twins of which none has a label are no matter.
    assert "the same as a labelled one" not in warned(as_dataset(x[20:], y[20:]))
    assert "another label" not in text


def test_a_labelled_sample_in_the_test_set_is_found():
    x = RNG.normal(size=(30, 4))
    y = np.where(np.arange(30) < 20, np.arange(30) % 2, -1)
    test = as_dataset(np.concatenate([RNG.normal(size=(2, 4)), x[3:4]]), [0, 1, 1])
    said = "1 held-out sample found in the training data too (first: #2 = #3)"
    assert said in warned(as_dataset(x, y), test)


def test_a_class_that_one_group_has_for_itself_is_found():
    y = ["a", "b"] * 6 + ["c"] * 2 + [""]
    groups = ["p", "q", "r", "s"] * 3 + ["t"] * 3
    text = warned(as_dataset(RNG.normal(size=(15, 2)), y, groups=groups))
    assert "labels of one group only in 1 class: 'c'; no split can both learn and score it" in text
    groups[12] = "p"
    assert "one group" not in warned(as_dataset(RNG.normal(size=(15, 2)), y, groups=groups))


def test_series_are_duplicates_only_at_the_same_length():
    a, b = np.array([1.0, 0.0]), np.array([1.0, 0.0, 0.0])
    assert "exact duplicate" not in warned(as_dataset([a, b], [0, 1]))
    assert "exact duplicate" in warned(as_dataset([a, b, b], [0, 1, 1]))


@pytest.mark.parametrize("padding", [0, 3])
def test_leaked_samples_are_found_whatever_the_padding(padding):
    train = as_dataset([RNG.normal(size=(n, 2)) for n in (4, 5, 6)], [0, 1, 0])
    items = [train.x[1, :5].numpy(), RNG.normal(size=(6 + padding, 2))]
    assert "1 held-out sample found in the training data too (first: #0 = #1)" in warned(
        train, as_dataset(items)
    )


def test_images_leak_too():
    x = RNG.integers(0, 256, (6, 3, 5, 7), dtype=np.uint8)
    data = as_dataset(x)
    assert "2 held-out samples" in warned(data, data.subset(torch.tensor([2, 5])))


def test_uneven_classes_and_single_labels_are_found():
    text = warned(as_dataset(RNG.normal(size=(24, 2)), [0] * 22 + [1, -1]))
    assert "fewer than 2 labels in 1 class: '1'" in text
    assert "'0' has 22 labels, '1' 1" in text


def test_a_column_that_tells_the_label_is_found():
    y = RNG.permutation([0, 1, 2] * 8)
    frame = pd.DataFrame(
        {"a": RNG.normal(size=24), "code": y * 10 + 5.0, "word": np.array(list("pqr"))[y]}
    )
    assert "read off columns 'code', 'word'" in warned(as_dataset(frame, y))
    target = RNG.normal(size=24)
    frame = pd.DataFrame({"a": RNG.normal(size=24), "b": target})
    assert "read off column 'b'" in warned(as_dataset(frame, target, task="regression"))


def test_a_row_counter_is_found():
    x = np.stack([np.arange(30.0), RNG.normal(size=30)], 1)
    assert "rows are numbered by column '0'" in warned(as_dataset(x, [0, 1] * 15))


def test_unequal_lengths_and_scales_are_found():
    items = [RNG.normal(size=(n, 2)) * [1, 1e6] for n in (3, 4, 4, 90)]
    text = warned(as_dataset(items, [0, 1, 0, 1]))
    assert "lengths are very unequal (3 to 90, median 4)" in text
    assert "channel '1' varies" in text


def test_data_without_labels_are_described():
    assert "no sample has a label" in warned(as_dataset(RNG.normal(size=(3, 2))))
    one = describe(as_dataset(RNG.normal(size=(1, 2)), [-1])).lines()
    assert "0 labelled of 1" in one[0]


@pytest.mark.parametrize(
    ("y", "task", "said"),
    [
        ([-1] * 4, None, "none of the 4 samples has a label"),
        ([1, 1, -1, 1], None, "of one class, '1'"),
        (["a", "a", "b", ""], None, "class 'b' has 1 label"),
        # More classes than a label each could teach.
        (["a", "b", "c", "d"], None, "class 'a' has 1 label.\n .*Give at least 2 labels a class"),
        ([2.0, 2.0, np.nan, 2.0], "regression", "all 2"),
        ([np.nan] * 4, "regression", "none of the 4"),
    ],
)
def test_too_few_labels_are_refused_before_training(y, task, said):
    with pytest.raises(errors.DataError, match=said):
        check_trainable(as_dataset(RNG.normal(size=(4, 2)), y, task=task))


def test_a_class_without_a_label_is_refused_by_its_name():
    data = as_dataset(RNG.normal(size=(6, 2)), ["a", "a", "b", "b", "c", "c"])
    with pytest.raises(errors.DataError, match=r"class 'b' has 0 labels\.\n .*leave the class out"):
        check_trainable(data.hide_labels(torch.tensor([0, 1, 4, 5])))


def test_one_label_a_class_passes_where_one_is_enough():
    data = as_dataset(RNG.normal(size=(4, 2)), ["a", "b", "", ""])
    check_trainable(data, fewest=1)
    with pytest.raises(errors.DataError, match="Give at least 1 label a class"):
        check_trainable(data.hide_labels(torch.empty(0, dtype=torch.int64)), fewest=1)


def test_enough_labels_pass():
    check_trainable(as_dataset(RNG.normal(size=(5, 2)), [0, 1, 1, 0, -1]))
    check_trainable(as_dataset(RNG.normal(size=(3, 2)), [0.5, 1.5, np.nan], task="regression"))
