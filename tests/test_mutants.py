"""The faults that `benchmarks.mutants` makes, and that a process runs them instead of the code."""

from __future__ import annotations

import json
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from benchmarks import mutants
from benchmarks.mutants import Recorded, in_own_process, outcome, use
from benchmarks.mutations import Mutation, mutations

CHECKOUT = Path(__file__).resolve().parents[1]

CODE = '''"""Adds 1 to what it is given."""

LIMIT: int = 3


def grown(é: float, by: "int | None" = 1) -> float:
    """Not 2."""
    if not é < LIMIT and by is not None:
        return min(é, 2.0)  # é + 1
    é += by
    print(é)
    raise ValueError(f"{é + 1}")
'''


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "code.py"
    path.write_text(CODE, "utf-8")
    return path


def test_every_operator_number_branch_and_statement_gets_a_fault(file: Path) -> None:
    found = [mutation.shown() for mutation in mutations(file, file.parent)]
    condition = "if not é < LIMIT and by is not None:"
    head = 'def grown(é: float, by: "int | None" = 1) -> float:'
    assert sorted(found) == sorted([
        ("LIMIT: int = 3", "LIMIT: int = 4"),
        (head, head.replace("= 1", "= 2")),
        (condition, "if not (not é < LIMIT and by is not None):"),
        (condition, "if not é < LIMIT or by is not None:"),
        (condition, "if é < LIMIT and by is not None:"),
        (condition, "if not é <= LIMIT and by is not None:"),
        (condition, "if not é < LIMIT and by is None:"),
        ("return min(é, 2.0) # é + 1", "return max(é, 2.0) # é + 1"),
        ("return min(é, 2.0) # é + 1", "return min(é, 3.0) # é + 1"),
        ("é += by", "pass"),
        ("print(é)", "pass"),
    ])  # fmt: skip


def test_every_mutant_is_python(file: Path) -> None:
    for mutation in mutations(file, file.parent):
        assert compile(mutation.source(), "mutant", "exec")
        assert mutation.source() != CODE


def test_lines_are_those_of_the_statement(file: Path) -> None:
    lines = {mutation.shown(): mutation.lines for mutation in mutations(file, file.parent)}
    assert lines["é += by", "pass"] == range(10, 11)
    assert lines["LIMIT: int = 3", "LIMIT: int = 4"] == range(3, 4)


def test_what_runs_once_belongs_to_all_tests_of_its_file(tmp_path: Path) -> None:
    """Of a cached function or a constant, only the first test that needs it runs the line."""
    path = tmp_path / "code.py"
    kernel = "@triton.jit\ndef kernel():\n    return 9\n"  # has no mutants
    path.write_text(f"LIMIT = 3\n@cache\ndef table():\n    return 5\ndef other():\n    return 7\n{kernel}", "utf-8")
    tests = Recorded({"code.py": {1: [], 4: ["first"], 6: ["second"]}}, {"first": 2.0, "second": 1.0})
    of = {mutation.line: tests.of(mutation) for mutation in mutations(path, tmp_path)}
    assert of == {1: ["second", "first"], 4: ["second", "first"], 6: ["second"]}


def test_a_process_runs_the_mutant_and_no_file_is_changed() -> None:
    path = CHECKOUT / "guidance" / "core" / "denoiser.py"
    before = path.read_text("utf-8")
    mutant = "return null - scale * (target - null)"
    (mutation,) = (each for each in mutations(path, CHECKOUT) if each.shown()[1] == mutant)
    assert in_own_process(_exit_with_guided, path, None) == 1 + 3 * (2 - 1)
    assert in_own_process(_exit_with_guided, path, mutation) == abs(1 - 3 * (2 - 1))
    assert path.read_text("utf-8") == before


def _exit_with_guided(path: Path, mutation: Mutation | None) -> None:
    if mutation is not None:
        use(mutation)
    spec = spec_from_file_location("loaded_again", path)
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.exit(abs(module.guide(null=1, target=2, scale=3)))


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("def test_it():\n    assert True", "survived"),
        ("def test_it():\n    assert False", "killed"),
        ("import nothing_of_this_name\ndef test_it():\n    pass", "killed"),
        ("import os\ndef test_it():\n    os.kill(os.getpid(), 9)", "stopped pytest"),
        ("", "survived"),
    ],
)
def test_only_a_failed_test_kills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, expected: str) -> None:
    (tmp_path / "test_it.py").write_text(code, "utf-8")
    (mutation, *_) = mutations(CHECKOUT / "guidance" / "core" / "denoiser.py", CHECKOUT)
    monkeypatch.setattr(Recorded, "of", lambda tests, of_what: [str(tmp_path / "test_it.py")])
    assert outcome(mutation, Recorded({}, {})) == expected


def test_mutants_that_are_left_get_their_verdict(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(mutants, "VERDICTS", tmp_path / "verdicts.json")
    row = {"file": "a.py", "code": "x", "mutant": "y"}
    mutants.VERDICTS.write_text(json.dumps([{**row, "verdict": "The same result."}]), "utf-8")
    left, killed, other = (
        {**row, "outcome": "survived"},
        {**row, "outcome": "killed"},
        {**row, "code": "z", "outcome": "survived"},
    )
    assert mutants.judged([left, killed, other]) == [{**left, "verdict": "The same result."}, killed, other]


def test_a_mutant_that_never_ends_is_stopped() -> None:
    assert in_own_process(_forever, limit=0.2) is None


def _forever() -> None:
    while True:
        pass
