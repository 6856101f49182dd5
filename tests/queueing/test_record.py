"""The record of jobs: unique file names on every file system, and missing results."""

from __future__ import annotations

from pathlib import Path

import pytest
import queueing.record as record_module
from queueing.jobs import Job
from queueing.record import NotSaved, open_record
from queueing.work import Result

RESULTS = (Result("edited", ".png", b"1"), Result("Edited", ".png", b"2"))


def job(label: str, number: int = 0) -> Job:
    return Job(label, {"1": {"class_type": "Any", "inputs": {"number": number}}}, ())


def results(folder: Path, jobs: list[Job]) -> list[str]:
    """The names of the result files of finished jobs."""
    with open_record(folder) as record:
        record.claim(jobs, "any")
        return [file.name for each in jobs for file in record.done(each, RESULTS)]


@pytest.mark.parametrize("label", ["b" * 251, "猫" * 83, "e\u0301" * 80], ids=["ascii", "three bytes", "accents"])
def test_long_names_are_shortened(label: str, tmp_path: Path):
    jobs = [job(label, number) for number in range(3)]
    names = results(tmp_path, jobs)
    assert {path.name for path in tmp_path.iterdir()} == {*names, "manifest.jsonl", ".manifest.lock"}
    assert len(set(names)) == 6
    assert all(name.startswith(label[:60]) and name.lower().endswith(("edited.png", "edited_2.png")) for name in names)


def test_long_name_and_kind_together_are_shortened(tmp_path: Path):
    with open_record(tmp_path) as record:
        record.claim([job("b" * 251)], "any")
        files = record.done(job("b" * 251), [Result("k" * 200, ".png", b"1"), Result("k" * 200, ".png", b"2")])
    assert [file.read_bytes() for file in files] == [b"1", b"2"]


def test_recorded_name_that_is_too_long_is_replaced(tmp_path: Path):
    """An older version recorded such names and then failed."""
    line = f'{{"job": "{job("any").key}", "name": "{"b" * 243}", "state": "queued", "server": "", "prompt_id": ""}}\n'
    (tmp_path / "manifest.jsonl").write_text(line)
    assert results(tmp_path, [job("b" * 243)])[0] == f"{'b' * 200}_edited.png"


@pytest.mark.parametrize(("first", "second"), [("Cat", "cat"), ("caf\u00e9", "cafe\u0301"), ("STRASSE", "straße")])
def test_names_are_distinct_on_every_file_system(first: str, second: str, tmp_path: Path):
    names = results(tmp_path, [job(first, 1), job(second, 2)])
    endings = ("_edited.png", "_Edited_2.png")
    assert names == [
        f"{first}{endings[0]}",
        f"{first}{endings[1]}",
        f"{second}_2{endings[0]}",
        f"{second}_2{endings[1]}",
    ]


def test_names_from_a_server_are_made_safe(tmp_path: Path):
    odd = Result("a\0b\x1b[2J\u202e\ud800\n../c:d", ".p\0ng", b"1"), Result("k" * 300, "." + "x" * 300, b"2")
    with open_record(tmp_path) as record:
        record.claim([job("cat")], "any")
        names = [file.name for file in record.done(job("cat"), odd)]
    assert names[0] == "cat_a_b_[2J__ .._c_d.p_ng"
    assert (len(names[1]), names[1][:10], names[1][-32:]) == (240, "cat_kkkkkk", "." + "x" * 31)
    assert sorted(path.name for path in tmp_path.glob("cat*")) == names


def test_name_that_the_file_system_refuses_fails_the_job_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Some file systems allow fewer bytes than most."""
    monkeypatch.setattr(record_module, "_FILE_BYTES", 400)
    results = Result("k" * 300, ".png", b"1"), Result("edited", ".png", b"2")
    with open_record(tmp_path) as record:
        record.claim([job("cat")], "any")
        with pytest.raises(NotSaved, match=r"The file 'cat_k+\.png' cannot be saved under this name") as failed:
            record.done(job("cat"), results)
        assert [path.read_bytes() for path in failed.value.saved] == [b"2"]
        assert not record.is_done(job("cat"))


def test_existing_files_that_differ_only_in_case_are_kept(tmp_path: Path):
    (tmp_path / "CAT_edited.png").write_text("made by something else")
    assert results(tmp_path, [job("cat")])[0] == "cat_2_edited.png"


def test_job_with_a_missing_result_is_not_done(tmp_path: Path):
    names = results(tmp_path, [job("cat"), job("dog", 1)])
    (tmp_path / names[1]).unlink()
    with open_record(tmp_path) as record:
        assert [record.is_done(each) for each in (job("cat"), job("dog", 1))] == [False, True]
    assert results(tmp_path, [job("cat")]) == names[:2]
