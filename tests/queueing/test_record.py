"""Results have names of their own on every disk, and what is no longer there is not done."""

from __future__ import annotations

from pathlib import Path

import pytest
from queueing.jobs import Job
from queueing.record import open_record
from queueing.work import Result

RESULTS = (Result("edited", ".png", b"1"), Result("Edited", ".png", b"2"))


def job(label: str, number: int = 0) -> Job:
    return Job(label, {"1": {"class_type": "Any", "inputs": {"number": number}}}, ())


def results(folder: Path, jobs: list[Job]) -> list[str]:
    """The names of the results of jobs that are done."""
    with open_record(folder) as record:
        record.claim(jobs, "any")
        return [file.name for each in jobs for file in record.done(each, RESULTS)]


@pytest.mark.parametrize("label", ["b" * 251, "猫" * 83, "e\u0301" * 80], ids=["ascii", "three bytes", "accents"])
def test_long_names_are_cut_to_what_a_file_may_have(label: str, tmp_path: Path):
    jobs = [job(label, number) for number in range(3)]
    names = results(tmp_path, jobs)
    assert {path.name for path in tmp_path.iterdir()} == {*names, "manifest.jsonl", ".manifest.lock"}
    assert len(set(names)) == 6
    assert all(name.startswith(label[:60]) and name.lower().endswith(("edited.png", "edited_2.png")) for name in names)


def test_long_kind_and_name_together_are_cut(tmp_path: Path):
    with open_record(tmp_path) as record:
        record.claim([job("b" * 251)], "any")
        files = record.done(job("b" * 251), [Result("k" * 200, ".png", b"1"), Result("k" * 200, ".png", b"2")])
    assert [file.read_bytes() for file in files] == [b"1", b"2"]


def test_name_that_no_file_could_have_is_given_up(tmp_path: Path):
    """An older version of the command gave such names, and stopped."""
    line = f'{{"job": "{job("any").key}", "name": "{"b" * 243}", "state": "queued", "server": "", "prompt_id": ""}}\n'
    (tmp_path / "manifest.jsonl").write_text(line)
    assert results(tmp_path, [job("b" * 243)])[0] == f"{'b' * 200}_edited.png"


@pytest.mark.parametrize(("one", "other"), [("Cat", "cat"), ("caf\u00e9", "cafe\u0301"), ("STRASSE", "straße")])
def test_names_that_are_one_on_some_disks_are_told_apart(one: str, other: str, tmp_path: Path):
    names = results(tmp_path, [job(one, 1), job(other, 2)])
    endings = ("_edited.png", "_Edited_2.png")
    assert names == [f"{one}{endings[0]}", f"{one}{endings[1]}", f"{other}_2{endings[0]}", f"{other}_2{endings[1]}"]


def test_files_that_are_one_with_a_name_on_some_disks_are_kept(tmp_path: Path):
    (tmp_path / "CAT_edited.png").write_text("not of this command")
    assert results(tmp_path, [job("cat")])[0] == "cat_2_edited.png"


def test_job_whose_result_is_gone_is_not_done(tmp_path: Path):
    names = results(tmp_path, [job("cat"), job("dog", 1)])
    (tmp_path / names[1]).unlink()
    with open_record(tmp_path) as record:
        assert [record.is_done(each) for each in (job("cat"), job("dog", 1))] == [False, True]
    assert results(tmp_path, [job("cat")]) == names[:2]
