"""The command line answers at once, corrects a slip of the finger, and passes on what it was given."""

from __future__ import annotations

import importlib
import inspect
import json
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tacita
from tacita import cli
from tacita.cli.app import VERBS as DECLARED
from tacita.errors import DataError, DryRun
from tacita.model.model import Judged

JUDGED = Judged({"accuracy": 0.5, "log_loss": 1.25}, np.array([[2, 0], [2, 0]]))
VERBS = {
    "fit",
    "pretrain",
    "adapt",
    "predict",
    "future",
    "embed",
    "evaluate",
    "label-next",
    "compare",
    "describe",
    "report",
    "export",
    "methods",
    "show",
    "claim",
}


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]):
    """Runs a command line in this process: its exit code, stdout and stderr."""

    def command(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stopped:
            cli.main(arguments)
        captured = capsys.readouterr()
        return int(stopped.value.code or 0), captured.out, captured.err

    return command


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[Any, ...], dict[str, Any]]]:
    """Replaces what the verbs call; records each call."""
    made: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def record(name: str, result: Any = None):
        def function(*arguments: Any, **named: Any) -> Any:
            made.append((name, arguments, named))
            return result

        return function

    for verb in ("fit", "pretrain", "adapt", "compare", "load"):
        monkeypatch.setitem(vars(tacita), verb, record(verb, f"result of {verb}"))
    description = types.SimpleNamespace(lines=lambda: ["data  12 samples", "labels  3 of 12"])
    monkeypatch.setitem(vars(tacita), "describe", record("describe", description))
    methods = {
        "predict_file": 3,
        "future_file": 14,
        "embed_file": 3,
        "judged_file": JUDGED,
        "report": Path("r/report.html"),
        "export": Path("m.onnx"),
    }
    task = types.SimpleNamespace(answers=("good", "banana"))
    model = types.SimpleNamespace(
        task=task, **{name: record(name, value) for name, value in methods.items()}
    )
    monkeypatch.setitem(vars(tacita), "Model", types.SimpleNamespace(load=record("open", model)))
    return made


@pytest.mark.parametrize(
    "arguments, code",
    [
        (["--help"], 0),
        (["methods", "images"], 0),
        (["show", "fixmatch"], 0),
        (["fit", "x", "--recipe", "fixmach"], 2),
        (["fit", "x", "--budget", "5q"], 2),
        (["pretrain", "barlow-twins", "x", "stepz=3"], 2),
        (["compare", "x", "--methods", "knnn"], 2),
    ],
)
def test_help_catalog_and_mistakes_need_no_torch(arguments: list[str], code: int) -> None:
    script = (
        "import sys, atexit\n"
        "from tacita.cli import main\n"
        "heavy = {'torch', 'numpy', 'sklearn', 'pandas', 'pyarrow'}\n"
        "atexit.register(lambda: print('LOADED', sorted(heavy & set(sys.modules))))\n"
        f"main({arguments!r})\n"
    )
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert finished.returncode == code, finished.stderr
    assert "LOADED []" in finished.stdout


def test_every_verb_has_help_with_two_examples(run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    assert set(DECLARED) == VERBS
    for verb in VERBS:
        assert f"\n  {verb} " in out
        code, page, _ = run(verb, "--help")
        assert code == 0
        examples = [line for line in page.splitlines() if line.startswith(f"  tacita {verb}")]
        assert len(examples) >= 2, verb
    assert "..." not in out.partition("Commands:")[2]  # no summary is cut short at 80 columns


def test_version_and_no_verb(run) -> None:
    assert run("--version") == (0, f"tacita {tacita.__version__}\n", "")
    code, out, _ = run()
    assert (code, "Usage: tacita" in out) == (0, True)


@pytest.mark.parametrize(
    "command, message",
    [
        ("ftt x", "'ftt'. Did you mean 'fit'?"),
        ("fit", "Missing argument 'DATA'"),
        ("fit x --seeed 1", "--seeed (Possible options: --seed"),
        ("fit x --seed -1", "'--seed'"),
        ("fit x --task guess", "'guess' is not one of 'classification', 'forecast', 'open-set'"),
        ("fit x --recipe fixmach", "'fixmach'; did you mean fixmatch?"),
        ("fit x --budget soon", "'soon' is not a duration"),
        ("pretrain barlow-twns x", "'barlow-twns'; did you mean barlow-twins?"),
        ("pretrain barlow-twins x steps=a", "pretrain.train.steps: 'a' is not a whole number"),
        ("pretrain barlow-twins x seed=3", "Write --seed 3"),
        ("pretrain barlow-twins x steps", "'steps' is not of the form key=value"),
        ("pretrain barlow-twins x encoder=vit --modality series", "vit reads images"),
        ("adapt barlow-twins x", "barlow-twins is of the family pretrain"),
        ("compare x --methods knn,knnn", "'knnn'; did you mean knn?"),
        ("compare x --methods ,", "--methods names no method"),
        ("methods --modality imags", "did you mean images?"),
        ("methods --task clasification", "did you mean classification?"),
        ("fit x --modality imags", "'imags' is not one of 'images'"),
        ("pretrain mae x dry_run=true", "Write --dry-run"),
        ("methods --family pretran", "did you mean pretrain?"),
        ("show fixmach", "did you mean fixmatch?"),
        ("claim fixmach", "did you mean fixmatch?"),
    ],
)
def test_a_slip_is_one_error_on_stderr_that_says_what_to_do(
    run, calls, command: str, message: str
) -> None:
    code, out, err = run(*command.split())
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert message in err
    assert calls == []  # nothing was started


def test_an_error_of_the_data_is_printed_with_its_remedy(run, monkeypatch) -> None:
    def refuse(*arguments: Any, **named: Any) -> None:
        raise DataError("x.csv, row 3: ragged.", remedy="Mend it.")

    monkeypatch.setitem(vars(tacita), "fit", refuse)
    assert run("fit", "x.csv") == (2, "", "error: x.csv, row 3: ragged.\n       Mend it.\n")


def test_a_dry_run_is_no_error(run, monkeypatch) -> None:
    def plan(*arguments: Any, **named: Any) -> None:
        raise DryRun("the plan")

    monkeypatch.setitem(vars(tacita), "fit", plan)
    code, out, err = run("fit", "x.csv", "--dry-run")
    assert (code, out) == (0, "")
    assert err == "This was a dry run: nothing was trained or written.\n"


@pytest.mark.parametrize("verb, hint", [("fit", "--resume"), ("describe", "")])
def test_an_interruption_says_how_to_go_on(run, monkeypatch, verb: str, hint: str) -> None:
    def interrupt(*arguments: Any, **named: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setitem(vars(tacita), "fit", interrupt)
    monkeypatch.setitem(vars(tacita), "load", interrupt)
    code, out, err = run(verb, "x")
    assert (code, out) == (130, "")
    assert err.strip().startswith("interrupted")
    assert ("--resume" in err) == bool(hint)


def test_fit_passes_on_every_option(run, calls) -> None:
    command = (
        "fit d.csv --labels y --task ordinal --recipe fixmatch --budget 5m --seed 7 --out r "
        "--from runs/x --test t.csv --unlabelled u.csv --labels-per-class 2 --draws 5 "
        "--group g --missing impute --weight k "
        "--modality images --unlabelled-as NA --unlabelled-as ? --class none --order low,high "
        "--metric auc "
        "--image-size 32 --series-id m --time t --text w --tokeniser bpe "
        "--ignore a,b --ignore c --categorical k --decimal , --id-column i "
        "--resume --overwrite --dry-run --quiet --device cpu --precision 64-true"
    )
    assert run(*command.split()) == (0, "", "")
    expected = {
        "labels": "y",
        "task": "ordinal",
        "recipe": "fixmatch",
        "budget": "5m",
        "seed": 7,
        "out": Path("r"),
        "start": "runs/x",
        "test": "t.csv",
        "unlabelled": "u.csv",
        "labels_per_class": 2,
        "draws": 5,
        "metric": "auc",
        "group": "g",
        "weight": "k",
        "missing": "impute",
        "modality": "images",
        "unlabelled_as": ["NA", "?"],
        "as_class": ["none"],
        "order": ["low,high"],
        "image_size": 32,
        "series_id": "m",
        "time": "t",
        "text": "w",
        "tokeniser": "bpe",
        "ignore": ["a", "b", "c"],
        "categorical": ["k"],
        "numeric": None,
        "decimal": ",",
        "id_column": "i",
        "resample_labels": False,
        "horizon": None,
        "season": None,
        "context": None,
        "known_ahead": None,
        "calendar": None,
        "resume": True,
        "overwrite": True,
        "dry_run": True,
        "quiet": 1,
        "device": "cpu",
        "precision": "64-true",
    }
    assert calls == [("fit", ("d.csv",), expected)]


def test_where_options_of_a_method_go_is_said(run) -> None:
    code, _, err = run("fit", "digits", "steps=10")
    assert code == 2
    assert "--recipe FILE.yaml" in err
    assert "tacita adapt METHOD DATA KEY=VALUE" in err


def test_fit_takes_options_of_the_one_method_that_it_is_given(run, calls) -> None:
    assert run("fit", "d.csv", "--recipe", "supervised", "patience=5", "steps=10")[0] == 0
    assert (calls[0][2]["patience"], calls[0][2]["steps"]) == (5, 10)
    code, _, err = run("fit", "d.csv", "--recipe", "supervised", "patiense=5")
    assert (code, len(calls)) == (2, 1)
    assert "did you mean" in err
    assert run("compare", "d.csv", "--methods", "knn", "steps=10")[0] == 2


def test_a_run_is_repeated_from_its_folder(run, calls, tmp_path: Path) -> None:
    assert run("fit", "d.csv", "--recipe", str(tmp_path))[0] == 0
    assert calls[0][2]["recipe"] == str(tmp_path)


def test_pretraining_passes_on_the_run_to_start_from(run, calls) -> None:
    assert run("pretrain", "barlow-twins", "d.npz", "--from", "runs/x")[0] == 0
    assert calls[-1][2]["start"] == "runs/x"
    assert calls[-1][2]["replay"] is None
    more = ("--replay", "a.npz", "--replay", "b.npz", "schedule_options={constant: 0.5}")
    assert run("pretrain", "mae", "d.npz", "--from", "runs/x", *more)[0] == 0
    assert calls[-1][2]["replay"] == ["a.npz", "b.npz"]
    assert calls[-1][2]["schedule_options"] == {"constant": 0.5}


def test_key_value_options_reach_the_verb_as_values(run, calls) -> None:
    run("pretrain", "barlow-twins", "d.npz", "steps=10", "projector=[8,8]", "--budget", "1m")
    more = ("--from", "runs/x", "--unlabelled", "u.npz")
    run("adapt", "fine-tune", "d.npz", "encoder=vit", *more)
    (_, first, named), (_, second, others) = calls
    assert first == ("barlow-twins", "d.npz")
    assert (named["steps"], named["projector"], named["budget"]) == (10, [8, 8], "1m")
    assert second == ("fine-tune", "d.npz")
    assert (others["start"], others["encoder"]) == ("runs/x", "vit")
    assert others["unlabelled"] == "u.npz"


def test_compare_takes_recipes_files_and_methods(run, calls, tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("name: mine\nlearn: {method: knn}", encoding="utf-8")
    names = f"fixmatch, {mine},random-forest"
    assert run("compare", "d.csv", "--methods", names)[0] == 0
    assert calls[0][1] == ("d.csv", ["fixmatch", str(mine), "random-forest"])
    more = ["--from", "runs/x", "--test", "t.csv", "--resume", "--dry-run", "--out", "r"]
    assert run("compare", "d.csv", "--methods", "barlow-twins,vicreg", *more)[0] == 0
    assert calls[1][1] == ("d.csv", ["barlow-twins", "vicreg"])
    told = {name: calls[1][2][name] for name in ("start", "test", "resume", "dry_run", "out")}
    assert told == {
        "start": "runs/x", "test": "t.csv", "resume": True, "dry_run": True, "out": Path("r"),
    }  # fmt: skip


def test_the_verbs_on_a_model_open_it_and_print_their_result(run, calls) -> None:
    assert run("predict", "r", "d", "--proba", "--out", "p.csv") == (0, "", "3 rows predicted\n")
    assert run("embed", "r", "d", "--out", "e.npy")[:2] == (0, "")
    assert run("evaluate", "r", "d", "--labels", "y")[1] == (
        "accuracy  0.5000\nlog_loss  1.2500\n\n"
        "class   precision  recall      f1  labels\n"
        "good       0.5000  1.0000  0.6667       2\n"
        "banana          -  0.0000  0.0000       2\n"
    )
    told = json.loads(run("evaluate", "r", "d", "--labels", "y", "--json")[1])
    assert told["accuracy"] == 0.5
    assert told["classes"][1] == {
        "name": "banana", "precision": None, "recall": 0.0, "f1": 0.0, "support": 2,
    }  # fmt: skip
    assert run("report", "r")[1] == "r/report.html\n"
    assert run("export", "r", "--format", "torch", "--out", "m.pt2")[1] == "m.onnx\n"
    assert [call[:2] for call in calls if call[0] != "open"] == [
        ("predict_file", ("d", Path("p.csv"), True)),
        ("embed_file", ("d", Path("e.npy"))),
        ("judged_file", ("d", "y")),
        ("judged_file", ("d", "y")),
        ("report", (None,)),
        ("export", (Path("m.pt2"), "torch")),
    ]
    assert {call[1] for call in calls if call[0] == "open"} == {("r",)}


@pytest.mark.parametrize("verb, given", [("fit", {}), ("compare", {"methods": ["knn"]})])
def test_what_is_left_out_is_at_the_default_that_python_has(
    run, calls, verb: str, given: dict[str, Any]
) -> None:
    expected = {
        p.name: p.default
        for p in inspect.signature(
            importlib.import_module(f"tacita.verbs.{verb}").__dict__[verb]
        ).parameters.values()
        if p.kind is p.KEYWORD_ONLY
    }
    flags = [word for name, (value,) in given.items() for word in (f"--{name}", value)]
    assert run(verb, "d.csv", *flags)[0] == 0
    assert calls[0][2] == expected


def test_describe_reads_and_then_describes(run, calls) -> None:
    assert run("describe", "d.csv", "--labels", "y")[1] == "data  12 samples\nlabels  3 of 12\n"
    assert [name for name, _, _ in calls] == ["load", "describe"]
    assert calls[0][2]["labels"] == "y"
    assert calls[1][1] == ("result of load",)


def test_methods_are_listed_and_found(run) -> None:
    code, out, err = run("methods")
    assert (code, err) == (0, "")
    assert {"encoder", "pretrain", "semisup", "adapt", "baseline"} <= set(out.split("\n"))
    assert "fixmatch" in run("methods", "labels", "--task", "classification", "--labels", "few")[1]
    code, out, err = run("methods", "nosuchword")
    assert (code, out) == (0, "")
    assert "no method matches" in err
    assert "\x1b" not in run("show", "fixmatch")[1]


def test_the_exit_code_of_a_claim_is_that_of_its_check(run, tmp_path, monkeypatch) -> None:
    script = tmp_path / "fixmatch.py"
    script.write_text("import sys; sys.exit(int(sys.argv[sys.argv.index('--seeds') + 1]))")
    monkeypatch.setattr("tacita.catalog.claims.claim_script", lambda slug: script)
    assert run("claim", "fixmatch", "--seeds", "1")[0] == 1
