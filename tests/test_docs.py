"""The documentation is true: its blocks and examples run, its links lead somewhere.

A page runs as a reader would follow it: block after block in one empty folder, the Python blocks in
one process, a fork of one that has only imported tacita, and the command line in forks of that.
`python title="NAME.py"` is a file that the page asks the reader to save, and what is titled `ON_YOURS` runs
on the reader's machine only.
"""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tacita.catalog.discover import HOUSE, scan
from tacita.catalog.tables import with_table
from tacita.cli.app import VERBS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PROSE = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
GENERATED = {"docs/claims.md"}
"""Written by `make claims`, so not there in every state of a working copy."""

ON_YOURS = 'title="on your machine"'
NO_RUN = {
    ("README.md", "make demo"): "takes minutes, and is a run of its own",
    ("README.md", "pip install ."): "changes the environment, and names the reader's own data",
    ("docs/index.md", "pip install ."): "as on the README",
    ("docs/many-processes.md", "torchrun --nproc-per-node=2 pretraining.py"): "starts processes",
    (
        "docs/self-supervised.md",
        "tacita pretrain simclr photos/ --budget 10m --out runs/first",
    ): "names the reader's own data",
    ("docs/how-claims-work.md", "tacita claim fixmatch --seeds 5"): "takes minutes",
    (
        "docs/text.md",
        'data = tacita.load("docs.csv", text="said", labels="kind", tokeniser="all-MiniLM-L6-v2")',
    ): "names the reader's own model",
}
LONG = {
    "docs/add-a-method.md",
    "docs/add-a-modality.md",
    "docs/command-line.md",
    "docs/continual-pretraining.md",
    "docs/did-pretraining-work.md",
    "docs/series-tasks.md",
    "docs/text.md",
    "docs/tour.md",
    "docs/will-unlabelled-data-help.md",
    "docs/your-own-network.md",
    "examples/images_few_labels.py",
}
"""Pages whose runs take ten seconds or more each: continuous integration runs them, and `CI=1 make test`."""
IN_A_CLONE = {"docs/add-a-method.md"}
"""Pages whose commands need the contract suite beside them."""

RUNNER = """
import json, os, pathlib, re, shlex, subprocess, sys
page, blocks = json.load(open(sys.argv[1]))
names = {"__name__": "__main__"}

def in_a_fork(command):
    # As the program does it, without the seconds that a new process takes to import everything.
    import tacita.cli, tacita.verbs.adapt
    child = os.fork()
    if not child:
        code = 1
        try:
            sys.argv = command
            tacita.cli.main()
            code = 0
        except SystemExit as end:
            code = end.code or 0
        finally:
            sys.stdout.flush()
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, command

def shell(text):
    lines = text.replace("\\\\\\n", " ").splitlines()
    if not all(re.fullmatch(r"(tacita|head|ls|cat) [^|&;<>$()`*]*", line) for line in lines):
        subprocess.run(["bash", "-euo", "pipefail", "-c", text], check=True)
        return
    for line in lines:
        command = shlex.split(line, comments=True)
        if command[0] == "tacita":
            in_a_fork(command)
        else:
            subprocess.run(command, check=True)

for language, file, line, text in blocks:
    print(f"\\n{page}, line {line}:", flush=True)
    if file:
        pathlib.Path(file).write_text(text)
    elif language == "python":
        exec(compile("\\n" * line + text, page, "exec"), names)
    else:
        shell(text)
"""


READER = """
import json, os, sys, traceback
# What nearly every page asks for: imported once, so that a page costs its own seconds alone.
import tacita.cli, tacita.verbs.adapt, tacita.verbs.compare, tacita.verbs.fit, tacita.verbs.pretrain

for line in sys.stdin:
    runner, script, folder, said = json.loads(line)
    child = os.fork()
    if not child:
        code = 1
        try:
            out = os.open(said, os.O_WRONLY | os.O_CREAT)
            os.dup2(out, 1)
            os.dup2(out, 2)
            os.chdir(folder)
            sys.argv = ["-c", script]
            exec(compile(runner, "runner", "exec"), {"__name__": "__main__"})
            code = 0
        except SystemExit as end:
            code = end.code or 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Reader:
    """A process that has not seen a test; it reads each page in a fork of its own."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", READER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=surroundings(),
            text=True,
        )

    def read(self, script: Path, folder: Path) -> None:
        """Run the blocks of a page; what it says is shown where it fails."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        said = script.with_suffix(".txt")
        job = json.dumps([RUNNER, str(script), str(folder), str(said)])
        print(job, file=self.process.stdin, flush=True)
        code = self.process.stdout.readline().strip()
        assert code == "0", said.read_text(encoding="utf-8")[-6000:]


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    reader = Reader()
    with reader.process as process:
        yield reader
        process.kill()


class Block(NamedTuple):
    """A fenced block: its language, what else stands behind it, its line and its text."""

    language: str
    info: str
    line: int
    text: str

    @property
    def head(self) -> str:
        return self.text.partition("\n")[0]

    @property
    def file(self) -> str:
        title = re.fullmatch(r'title="([\w-]+\.\w+)"', self.info)
        return title[1] if title else ""


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    fences = re.finditer(r"^```(\w+) ?([^\n]*)\n(.*?)^```$", text, re.M | re.S)
    return [Block(m[1], m[2], text.count("\n", 0, m.start()) + 1, m[3]) for m in fences]


def prose_of(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def surroundings() -> dict[str, str]:
    """As a reader has them: the environment's programs on the path, one thread, no pytest around."""
    outer = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**outer, "PATH": programs, "OMP_NUM_THREADS": "1"}


def runnable(page: Path) -> list[Block]:
    return [b for b in blocks_of(page) if b.language in ("python", "bash") and b.info != ON_YOURS]


@pytest.mark.parametrize("page", [p for p in PAGES if runnable(p)], ids=name)
def test_every_block_runs(page: Path, tmp_path: Path, reader: Reader) -> None:
    if name(page) in LONG and not os.environ.get("CI"):
        pytest.skip("a long page: CI=1 runs it")
    folder = tmp_path / "page"
    folder.mkdir()
    if name(page) in IN_A_CLONE:
        shutil.copytree(ROOT / "tests" / "contracts", folder / "tests" / "contracts")
        for shared in ("helpers.py", "forms.py"):
            shutil.copy(ROOT / "tests" / shared, folder / "tests")
        shutil.copy(ROOT / "pyproject.toml", folder)
    script = tmp_path / "blocks.json"
    rows = [(block.language, block.file, block.line, block.text) for block in runnable(page)]
    script.write_text(json.dumps([name(page), rows]), encoding="utf-8")
    reader.read(script, folder)


def test_blocks_that_do_not_run_are_known_and_all_fences_are_of_known_kinds() -> None:
    found = [(name(page), block) for page in PAGES for block in blocks_of(page)]
    assert {(page, block.head) for page, block in found if block.info == ON_YOURS} == set(NO_RUN)
    for page, block in found:
        where = f"{page}, line {block.line}"
        assert block.language in ("python", "bash", "text", "json", "yaml"), where
        assert block.info in ("", ON_YOURS) or block.file, where


@pytest.mark.parametrize("example", EXAMPLES, ids=name)
def test_examples_are_short_and_run(
    example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(example.read_text(encoding="utf-8").splitlines()) < 40
    if name(example) in LONG and not os.environ.get("CI"):
        pytest.skip("a long example: CI=1 runs it")
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(example), run_name="__main__")


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=name)
def test_a_notebook_was_run_from_top_to_bottom_and_still_runs(
    notebook: Path, tmp_path: Path, reader: Reader
) -> None:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert outputs
    assert all(output["output_type"] != "error" for output in outputs)
    rows = [("python", "", number, "".join(cell["source"])) for number, cell in enumerate(code)]
    if not os.environ.get("CI"):
        pytest.skip("a long notebook: CI=1 runs it")
    script = tmp_path / "cells.json"
    script.write_text(json.dumps([name(notebook), rows]), encoding="utf-8")
    folder = tmp_path / "notebook"
    folder.mkdir()
    reader.read(script, folder)


@pytest.mark.parametrize("page", PROSE, ids=name)
def test_links_lead_to_files_and_headings_that_are_there(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose_of(page)):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists() or name(file) in GENERATED, target
        if anchor and file.suffix == ".md" and file.exists():
            headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.M)
            slugs = {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}
            assert anchor in slugs, target


@pytest.mark.parametrize("page", PROSE, ids=name)
def test_files_of_the_house_that_a_page_names_are_there(page: Path) -> None:
    rooms = r"(?:src|docs|tests|claims|examples|benchmarks)"
    for path in re.findall(rf"`({rooms}/[\w./-]*)`", prose_of(page)):
        assert (ROOT / path).exists() or path in GENERATED | {"claims/results"}, path
    for module in re.findall(r"`(tacita(?:\.[a-z_]+)+)", prose_of(page)):
        *parents, last = module.split(".")
        places = [ROOT / "src" / Path(*parents), ROOT / "src" / Path(*parents[:-1])]
        inside = any((place / last).exists() or (place / f"{last}.py").exists() for place in places)
        attribute = any(
            re.search(rf"\b{last}\b", file.read_text(encoding="utf-8"))
            for place in places
            for file in (place.with_suffix(".py"), place / "__init__.py")
            if file.is_file()
        )
        assert inside or attribute, module


def test_the_readme_names_every_verb_and_every_method() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for verb in VERBS:
        assert f"`tacita {verb}`" in readme, verb
    # Those of the house: others may have been registered by a test before.
    for slug in scan(HOUSE):
        assert f"`{slug}`" in readme, slug


def test_the_demo_has_its_place_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.search(r"<!-- demo -->\n```text\n.+?^```\n<!-- /demo -->", readme, re.M | re.S)


def test_the_readmes_table_is_that_of_the_cards() -> None:
    page = (ROOT / "README.md").read_text("utf-8")
    assert with_table(page) == page, "run: make tables"
