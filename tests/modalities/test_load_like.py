"""Further samples are read as the first were, whatever the chunk."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from tacita import errors
from tacita.data.notes import ReadingWarning
from tacita.modalities.load import load, read_like
from tacita.modalities.memory import as_dataset

CSV = "id,a,colour,y\np,1,red,u\nq,2,blue,v\nr,3,red,\ns,4,red,u\n"


def joined(chunks):
    chunks = list(chunks)
    return (
        torch.cat([c.x for c in chunks]),
        torch.cat([c.y for c in chunks]),
        torch.cat([c.index for c in chunks]),
        [name for c in chunks for name in c.ids],
    )


@pytest.fixture
def table(tmp_path):
    (tmp_path / "t.csv").write_text(CSV)
    return tmp_path / "t.csv"


@pytest.mark.parametrize("chunk", [1, 3, 100])
@pytest.mark.parametrize("form", ["csv", "parquet", "frame", "shuffled"])
def test_a_table_comes_back_as_it_was_loaded(table, form, chunk):
    data = load(table, labels="y")
    source = table
    frame = pd.read_csv(table)
    if form == "parquet":
        source = table.with_suffix(".parquet")
        frame.to_parquet(source)
    elif form == "frame":
        source = frame
    elif form == "shuffled":
        frame.assign(extra=1)[["colour", "extra", "y", "a", "id"]].to_csv(source, index=False)
    chunks = list(read_like(source, data.schema, chunk=chunk))
    assert all(len(part) <= chunk for part in chunks)
    x, y, index, ids = joined(chunks)
    assert torch.equal(x, data.x)
    assert torch.equal(y, data.y)
    assert index.tolist() == [0, 1, 2, 3]
    assert ids == list(data.ids)
    assert all(part.schema == data.schema for part in chunks)


def test_labels_and_ids_may_be_absent(table):
    schema = load(table, labels="y").schema
    table.write_text("colour,a\nblue,9\n")
    (part,) = read_like(table, schema)
    assert (part.x.tolist(), part.y.tolist(), part.ids) == ([[9, 0]], [-1], ())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,color\n1,red\n", r"1 column of the model missing: 'colour'[\s\S]*Did you mean 'color'"),
        ("a,colour\n1,red\nx,red\n", "'x' at row 3, column 'a' is not a number"),
        ("a,colour\n1,red\n,red\n", "the first at row 3, column 'a'"),
        ("a,colour\n1,red\n2,\n", "1 empty cell in column 'colour', the first at row 3"),
        ("a,colour,y\n1,red,w\n", "sample 0 is labelled 'w'"),
        ("a,colour\n", "there are no samples"),
        ("a,colour\n1,red\n2\n", "row 3 has 1 cell"),
    ],
)
@pytest.mark.parametrize("chunk", [1, 10])
def test_rows_the_model_cannot_take_are_named(table, text, said, chunk):
    schema = load(table, labels="y").schema
    table.write_text(text)
    with pytest.raises(errors.DataError, match=said):
        list(read_like(table, schema, chunk=chunk))


@pytest.mark.parametrize("missing", ["refuse", "impute"])
@pytest.mark.parametrize("chunk", [1, 10])
def test_categories_never_seen_are_none_of_the_known_and_counted(table, chunk, missing):
    if missing == "impute":
        table.write_text(CSV.replace("q,2,blue", "q,2,"))
    schema = load(table, labels="y", missing=missing).schema
    table.write_text("a,colour\n1,red\n2,rad\n3,green\n")
    with pytest.warns(ReadingWarning, match="2 values of column 'colour' not in .* 'rad' at row 3"):
        x, *_ = joined(read_like(table, schema, chunk=chunk))
    assert x[:, 1].isnan().tolist() == [False, True, True]
    with pytest.raises(errors.DataError, match=r"value.* 'rad' at row 3[\s\S]*--strict"):
        list(read_like(table, schema, chunk=chunk, strict=True))


def test_an_empty_cell_is_the_category_missing_or_none_of_the_known(table):
    learnt = CSV.replace("q,2,blue", "q,2,")
    for text, expected in ((learnt, [0, 1]), (CSV, [float("nan"), 1])):
        table.write_text(text)
        schema = load(table, labels="y", missing="impute").schema
        table.write_text("a,colour\n1,\n,red\n")
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            (part,) = read_like(table, schema)
        np.testing.assert_array_equal(part.x[:, 1], expected)
        assert part.x[1, 0].isnan()
        assert ["nothing at row 2" in str(each.message) for each in said] == [True] * (text is CSV)


@pytest.mark.parametrize("chunk", [1, 10])
@pytest.mark.parametrize("form", ["tables", "array", "text", "wide series", "long series"])
def test_labels_may_stand_in_a_column_that_the_model_did_not_have(tmp_path, form, chunk):
    path, plain, named = tmp_path / "new.csv", tmp_path / "first.csv", {}
    rows = {
        "tables": ("a,b", "1,2"),
        "array": ("a,b", "1,2"),
        "text": ("text", "two words"),
        "wide series": ("t0,t1", "1,2"),
        "long series": ("m,t,v", "{i},0,1"),
    }
    header, row = rows[form]
    lines = [row.format(i=i) for i in range(4)]
    plain.write_text("\n".join([header, *lines]) + "\n")
    truth = ["u", "v", "", "u"]
    path.write_text(
        "\n".join([f"{header},judged", *(f"{r},{y}" for r, y in zip(lines, truth, strict=True))])
        + "\n"
    )
    if form == "array":
        schema = as_dataset(np.array([[1.0, 2.0]] * 4), truth).schema
    else:
        if form == "long series":
            named = {"series_id": "m", "time": "t"}
        elif form == "wide series":
            named = {"modality": "series"}
        ids = "id,label\n" + "\n".join(f"{i},{y}" for i, y in enumerate(truth)) + "\n"
        (tmp_path / "l.csv").write_text(ids)
        schema = load(plain, labels=tmp_path / "l.csv", **named).schema
    assert schema.meta.target is None
    x, y, _, _ = joined(read_like(path, schema, chunk=chunk, labels="judged"))
    assert y.tolist() == [0, 1, -1, 0]
    assert len(x) == 4


def test_a_label_file_serves_a_stream_and_must_fit_it(table, tmp_path):
    schema = load(table, labels="y").schema
    table.write_text("id,a,colour\np,1,red\nq,2,red\nr,3,red\n")
    (tmp_path / "l.csv").write_text("id,label\nr,v\np,u\n")
    _, y, _, _ = joined(read_like(table, schema, chunk=1, labels=tmp_path / "l.csv"))
    assert y.tolist() == [0, -1, 1]
    (tmp_path / "l.csv").write_text("id,label\nz,v\n")
    with pytest.raises(errors.DataError, match="'z'"):
        list(read_like(table, schema, chunk=1, labels=tmp_path / "l.csv"))


def test_an_id_that_two_chunks_have_is_refused(table, tmp_path):
    schema = load(table, labels="y").schema
    table.write_text("id,a,colour\np,1,red\nq,2,red\np,3,red\n")
    (tmp_path / "l.csv").write_text("id,label\np,u\n")
    for chunk in (1, 10):
        with pytest.raises(errors.DataError, match="'p' fits"):
            list(read_like(table, schema, chunk=chunk, labels=tmp_path / "l.csv"))


@pytest.mark.parametrize("chunk", [1, 2, 10])
@pytest.mark.parametrize("form", ["x.npy", "x.npz", "values.npz", "folder", "wide.csv", "list"])
def test_series_are_padded_to_the_models_length_or_longer(tmp_path, form, chunk):
    schema = as_dataset(np.zeros((2, 3, 1)), [0, 1]).schema
    items = [np.arange(1.0, 3), np.arange(1.0, 6), np.ones(3)]
    if form.startswith("x."):
        items = [np.ones(3), np.arange(3.0), np.zeros(3)]
        x = np.stack(items)[:, :, None]
        np.save(tmp_path / form, x) if form == "x.npy" else np.savez(tmp_path / form, x=x)
    elif form == "values.npz":
        np.savez(tmp_path / form, values=np.concatenate(items), lengths=[2, 5, 3], y=[1, -1, 0])
    elif form == "folder":
        (tmp_path / form).mkdir()
        for name, item in zip("pqr", items, strict=True):
            pd.DataFrame({"v": item}).to_csv(tmp_path / form / f"{name}.csv", index=False)
    elif form == "wide.csv":
        pd.DataFrame([list(item) for item in items]).to_csv(tmp_path / form, index=False)
    source = items if form == "list" else tmp_path / form
    position = 0
    for part in read_like(source, schema, chunk=chunk):
        assert part.x.shape[1] >= 3
        for row, series in enumerate(part.x):
            length = part.x.shape[1] if part.lengths is None else int(part.lengths[row])
            assert series[:length, 0].tolist() == items[position].tolist()
            assert (series[length:] == 0).all()
            position += 1
        if form == "values.npz":
            assert part.y.tolist() == [1, -1, 0][position - len(part) : position]
    assert position == 3


def test_images_are_read_in_the_models_size_and_colour(tmp_path):
    schema = as_dataset(np.zeros((2, 3, 8, 8), np.uint8), ["cat", "dog"]).schema
    for name, label in (("a", "dog"), ("b", "cat")):
        (tmp_path / label).mkdir()
        Image.fromarray(np.full((20, 30), 50, np.uint8)).save(tmp_path / label / f"{name}.png")
    x, y, _, ids = joined(read_like(tmp_path, schema, chunk=1))
    assert x.shape == (2, 3, 8, 8)
    assert (x == 50).all()
    assert (ids, y.tolist()) == (["cat/b.png", "dog/a.png"], [0, 1])
    (tmp_path / "cat").rename(tmp_path / "cats")
    with pytest.raises(errors.DataError, match="'cats'"):
        list(read_like(tmp_path, schema))
    (tmp_path / "dog").rename(tmp_path / "dogs")
    assert joined(read_like(tmp_path, schema))[1].tolist() == [-1, -1]
    np.save(tmp_path / "x.npy", np.full((5, 16, 16, 3), 9, np.uint8))
    assert (joined(read_like(tmp_path / "x.npy", schema, chunk=2))[0] == 9).all()


@pytest.mark.parametrize(
    "x", [np.zeros((2, 4)), np.zeros((2, 3, 2)), np.zeros((2, 1, 9, 9)), np.zeros((0, 3))]
)
def test_arrays_of_another_shape_are_refused(tmp_path, x):
    schema = as_dataset(np.zeros((2, 3)), [0, 1]).schema
    np.save(tmp_path / "x.npy", x)
    with pytest.raises(errors.DataError):
        list(read_like(tmp_path / "x.npy", schema))
    with pytest.raises(errors.TacitaError):
        list(read_like(x, schema))


def test_a_nameless_table_is_matched_by_position(tmp_path):
    data = as_dataset(np.arange(6.0).reshape(3, 2), [0, 1, 0])
    (tmp_path / "t.csv").write_text("u,v\n7,8\n")
    assert joined(read_like(tmp_path / "t.csv", data.schema))[0].tolist() == [[7, 8]]
    assert joined(read_like(data.x, data.schema, chunk=2))[0].tolist() == data.x.tolist()


def test_memory_stays_bounded_on_a_file_much_larger_than_a_chunk(tmp_path):
    import tracemalloc

    x = np.zeros((20_000, 200), np.float32)
    np.save(tmp_path / "x.npy", x)
    np.savez_compressed(tmp_path / "x.npz", x=x)
    schema = as_dataset(x[:2]).schema
    for name in ("x.npy", "x.npz"):
        tracemalloc.start()
        count = sum(len(part) for part in read_like(tmp_path / name, schema, chunk=500))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert count == len(x)
        assert peak < x.nbytes / 4


def test_a_data_set_or_a_built_in_name_streams_too(table):
    for data, source in ((load("digits"), "digits"), (load(table, labels="y"), None)):
        x, y, _, _ = joined(read_like(source or data, data.schema, chunk=700))
        assert torch.equal(x, data.x)
        assert torch.equal(y, data.y)
    with pytest.raises(errors.DataError, match="trained on tables"):
        list(read_like("digits", load(table, labels="y").schema))
    with pytest.raises(errors.DataError, match="not those of the model"):
        list(read_like(load(table, labels="y"), load("wine").schema))


def test_names_are_needed_where_the_model_has_categories(table):
    with pytest.raises(errors.DataError, match="an array has no names"):
        list(read_like(np.zeros((2, 2)), load(table, labels="y").schema))


def test_labels_may_stand_in_an_array_that_the_model_did_not_have(tmp_path):
    path = tmp_path / "new.npz"
    np.savez(path, x=np.zeros((3, 2)), judged=np.array(["u", "v", "u"]))
    schema = as_dataset(np.zeros((4, 2)), ["u", "v", "u", "v"]).schema
    _, y, _, _ = joined(read_like(path, schema, chunk=2, labels="judged"))
    assert y.tolist() == [0, 1, 0]
