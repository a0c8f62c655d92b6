"""Inputs: every line once and in order, through rotation, truncation, half-written lines and restarts."""

import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from axo.errors import UserError
from axo.rate_monitor.inputs import Line, kinds, open_input
from axo.rate_monitor.inputs.stdin import Pipe


def texts(lines: list[Line]) -> list[str]:
    return [line.text.decode() for line in lines if line.fault is None]


def faults(lines: list[Line]) -> list[str]:
    return [line.fault for line in lines if line.fault is not None]


def take(source) -> list[Line]:
    """All there is to read just now."""
    lines = []
    while batch := source.read(0):
        lines += batch
    return lines


def append(path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def test_kinds_are_the_modules_of_the_folder():
    assert kinds() == ["file", "folder", "stdin", "zmq"]


@pytest.mark.parametrize(
    "name", ["fil:x", "x.jsonl", "file:", "file:/nowhere/x", "folder:/nowhere", "stdin:x"]
)
def test_an_input_that_cannot_work_is_one_line(name):
    with pytest.raises(UserError) as error:
        open_input(name)
    assert "\n" not in str(error.value)


def test_a_followed_file_may_appear_later_and_grow(tmp_path):
    path = tmp_path / "r"
    source = open_input(f"file:{path}")
    assert take(source) == []
    append(path, "one\n\ntwo\nthr")
    assert texts(take(source)) == ["one", "two"]
    append(path, "ee\n")
    assert texts(take(source)) == ["three"]
    source.close()


def test_rotation_loses_nothing_and_a_cut_line_is_a_fault(tmp_path):
    path = tmp_path / "r"
    append(path, "one\n")
    source = open_input(f"file:{path}")
    assert texts(take(source)) == ["one"]
    append(path, "two\ncut")
    path.rename(tmp_path / "r.1")
    append(path, "three\n")
    lines = take(source)
    assert texts(lines) == ["two", "three"]
    assert len(faults(lines)) == 1 and "cut off" in faults(lines)[0]
    source.close()


def test_truncation_is_noticed_and_reading_goes_on(tmp_path):
    path = tmp_path / "r"
    append(path, "one\ntwo\n")
    source = open_input(f"file:{path}")
    assert texts(take(source)) == ["one", "two"]
    os.truncate(path, 0)
    lines = take(source)
    assert len(faults(lines)) == 1 and "truncated" in faults(lines)[0]
    append(path, "three\n")
    assert texts(take(source)) == ["three"]
    source.close()


@pytest.mark.parametrize("kind", ["file", "stdin"])
def test_a_line_without_end_costs_no_memory_and_is_one_fault(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(f"axo.rate_monitor.inputs.{kind}.MAXIMUM_LINE_BYTES", 100)
    monkeypatch.setattr(f"axo.rate_monitor.inputs.{kind}.CHUNK_BYTES", 64)
    path = tmp_path / "r"
    path.write_text("before\n" + "x" * 1000 + "\nafter\n")
    number = os.open(path, os.O_RDONLY)
    source = open_input(f"file:{path}") if kind == "file" else Pipe(number)
    lines = []
    for _ in range(50):
        lines += source.read(0)
    assert texts(lines) == ["before", "after"]
    assert len(faults(lines)) == 1 and "more than 100 bytes" in faults(lines)[0]
    os.close(number)
    source.close()


@pytest.mark.parametrize("rotations", [0, 1, 3])
def test_a_restart_finds_its_place_also_in_a_rotated_file(tmp_path, rotations):
    path = tmp_path / "r"
    append(path, "".join(f'{{"lumi_section": {i}}}\n' for i in range(10)))
    first = open_input(f"file:{path}")
    position = json.loads(json.dumps(first.read(0)[4].position))
    first.close()
    stamp = 10**9
    for number in range(rotations):
        for old in range(number, 0, -1):
            (tmp_path / f"r.{old}").rename(tmp_path / f"r.{old + 1}")
        path.rename(tmp_path / "r.1")
        os.utime(tmp_path / "r.1", (stamp + number, stamp + number))
        append(path, f'{{"lumi_section": {10 + number}}}\n')
    again = open_input(f"file:{path}", position)
    lines = take(again)
    assert faults(lines) == []
    assert [json.loads(text)["lumi_section"] for text in texts(lines)] == list(range(5, 10 + rotations))
    again.close()


def test_a_restart_on_another_file_says_so_and_begins_at_its_start(tmp_path):
    path = tmp_path / "r"
    append(path, "one\ntwo\n")
    first = open_input(f"file:{path}")
    position = first.read(0)[1].position
    first.close()
    path.write_text("other\nlines\nthree\n")
    again = open_input(f"file:{path}", position)
    lines = take(again)
    assert texts(lines) == ["other", "lines", "three"]
    assert len(faults(lines)) == 1 and "may be lost" in faults(lines)[0]
    again.close()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 30), st.sampled_from("wwwrk")), min_size=1, max_size=40),
    st.integers(0, 2**32),
)
def test_any_interleaving_of_writes_rotations_and_restarts_gives_each_line_once(
    tmp_path_factory, steps, salt
):
    """w: write some bytes; r: rotate (at a line's end); k: kill the reader, start another where it was."""
    folder = tmp_path_factory.mktemp("follow")
    path = folder / "r"
    written = "".join(f"{salt}-{i:05d}\n" for i in range(200))
    path.touch()
    done, position, got, rotated = 0, None, [], 0
    source = open_input(f"file:{path}")
    for size, step in steps:
        if step == "w":
            append(path, written[done : done + size])
            done += len(written[done : done + size])
        elif step == "r" and written[:done].endswith("\n"):
            rotated += 1
            target = folder / f"r.{rotated:08d}"
            path.rename(target)
            os.utime(target, ns=(rotated, rotated))
            path.touch()
        elif step == "k":
            source.close()
            source = open_input(f"file:{path}", position)
            continue
        for line in source.read(0):
            assert line.fault is None
            got.append(line.text.decode())
            position = line.position
    for line in take(source):
        got.append(line.text.decode())
    source.close()
    assert got == written[:done].split("\n")[:-1]


def test_a_folder_is_read_in_the_order_of_names_and_resumes_within_a_file(tmp_path):
    (tmp_path / "002.jsonl").write_text("c\nd\n")
    (tmp_path / "001.json").write_text("a\nb")
    (tmp_path / ".003.json").write_text("hidden")
    (tmp_path / "readme.txt").write_text("other")
    source = open_input(f"folder:{tmp_path}")
    lines = take(source)
    assert texts(lines) == ["a", "b", "c", "d"]
    (tmp_path / "004.json").write_text("e\n")
    assert texts(take(source)) == ["e"]
    (tmp_path / "0015.json").write_text("late\n")
    late = take(source)
    assert texts(late) == ["late"] and late[0].position == {"name": "004.json", "lines": 1}
    again = open_input(f"folder:{tmp_path}", lines[2].position)
    assert texts(take(again)) == ["d", "e"]


def test_standard_input_ends_with_an_unfinished_line():
    reader, writer = os.pipe()
    source = Pipe(reader)
    assert source.read(0) == []
    os.write(writer, b"one\ntw")
    assert texts(source.read(1)) == ["one"]
    os.write(writer, b"o\nthree")
    assert texts(source.read(1)) == ["two"]
    os.close(writer)
    assert texts(source.read(1)) == ["three"] and source.ended
    os.close(reader)


def test_a_zeromq_subscriber_gets_each_message_once():
    zmq = pytest.importorskip("zmq", reason="pyzmq (axo[zmq]) is not installed")
    with zmq.Context() as context, context.socket(zmq.XPUB) as publisher:
        port = publisher.bind_to_random_port("tcp://127.0.0.1")
        source = open_input(f"zmq:tcp://127.0.0.1:{port}")
        assert publisher.poll(5000) and publisher.recv() == b"\x01"
        publisher.send(b"one")
        publisher.send_multipart([b"topic", b"two"])
        lines: list[Line] = []
        while len(lines) < 2:
            batch = source.read(5)
            assert batch
            lines += batch
        assert texts(lines) == ["one", "two"]
        source.close()


def test_a_zeromq_address_that_is_none_is_one_line():
    pytest.importorskip("zmq", reason="pyzmq (axo[zmq]) is not installed")
    with pytest.raises(UserError, match="tcp://HOST:PORT"):
        open_input("zmq:nonsense")
