"""The journal: append-only, on disk before anything is said, one writer, readable by others."""

import os
import signal
import sqlite3
import subprocess
import sys

import pytest

from axo.errors import UserError
from axo.rate_monitor.journal import AlarmRow, Entry, Journal, JournalUnwritable


def entry(section: int | None, **changes) -> Entry:
    values = {
        "time_s": 1.5,
        "kind": "record" if section else "start",
        "input": f'{{"lumi_section": {section}}}',
        "place": "r, byte 0",
        "position": {"offset": 7},
        "run": 1,
        "lumi_section": section,
        "output": {"publish": bool(section), "threshold_words": {"a": 5}},
        "state": {"x": 0.1, "bins": [1, 2]},
        "controller": "fixed 1",
        "network": "abc",
    }
    return Entry(**(values | changes))


def test_what_is_appended_comes_back_exactly(tmp_path):
    path = tmp_path / "j.sqlite"
    journal = Journal(path)
    assert journal.last() is None and journal.unpublished() is None
    first, second = entry(None), entry(3, state=None, input="not JSON: é\x00")
    alarm = AlarmRow(2.0, "late", "a", True, "too late")
    assert journal.append(first) == 1
    assert journal.append(second, (alarm,)) == 2
    journal.close()
    again = Journal(path)
    assert [vars(found) | {"number": 0} for found in again.entries()] == [vars(first), vars(second)]
    assert again.alarm_rows(10) == [alarm]
    again.close()


def test_no_lumi_section_is_decided_twice(tmp_path):
    journal = Journal(tmp_path / "j")
    journal.append(entry(3))
    with pytest.raises(sqlite3.IntegrityError):
        journal.append(entry(3))
    assert journal.append(entry(3, run=2)) == 2
    journal.close()


@pytest.mark.parametrize("table", ["entries", "publications", "alarms"])
@pytest.mark.parametrize("statement", ["DELETE FROM {}", "UPDATE {} SET time_s = 0"])
def test_rows_can_be_neither_changed_nor_deleted(tmp_path, table, statement):
    path = tmp_path / "j"
    journal = Journal(path)
    journal.append(entry(3), (AlarmRow(2.0, "late", "", True, "too late"),))
    journal.publication(1, 2.0, "published", "")
    journal.close()
    database = sqlite3.connect(path)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        database.execute(statement.format(table))
    database.close()


def test_only_an_unconfirmed_last_decision_is_published_again(tmp_path):
    journal = Journal(tmp_path / "j")
    journal.append(entry(3))
    journal.publication(1, 2.0, "failed", "no route")
    found = journal.unpublished()
    assert found is not None and found.number == 1
    journal.publication(1, 3.0, "published", "")
    assert journal.unpublished() is None
    journal.append(entry(None))
    assert journal.unpublished() is None
    journal.append(entry(4))
    found = journal.unpublished()
    assert found is not None and found.lumi_section == 4
    journal.close()


def test_a_second_writer_is_refused_and_a_reader_is_not(tmp_path):
    path = tmp_path / "j"
    journal = Journal(path)
    journal.append(entry(3))
    with pytest.raises(UserError, match="another service"):
        Journal(path)
    reader = Journal(path, writable=False)
    assert len(list(reader.entries())) == 1
    reader.close()
    journal.close()
    Journal(path).close()


@pytest.mark.parametrize(
    "content", [b"not a database at all, but long enough to be read as one" * 99, b"SQLite"]
)
def test_a_file_that_is_no_journal_is_one_line_and_stays_as_it_is(tmp_path, content):
    path = tmp_path / "j"
    path.write_bytes(content)
    with pytest.raises(UserError, match="name another file"):
        Journal(path)
    assert path.read_bytes() == content


def test_another_programs_database_is_refused(tmp_path):
    path = tmp_path / "j"
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE t (x)")
    database.commit()
    database.close()
    with pytest.raises(UserError, match="not a journal"):
        Journal(path)


def test_a_missing_journal_is_one_line_for_a_reader(tmp_path):
    with pytest.raises(UserError, match="no journal"):
        Journal(tmp_path / "j", writable=False)


def test_a_full_disk_loses_nothing_and_appending_goes_on_afterwards(tmp_path):
    journal = Journal(tmp_path / "j")
    journal.append(entry(3))
    pages = journal._database.execute("PRAGMA page_count").fetchone()[0]
    journal._database.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(JournalUnwritable, match="full"):
        journal.append(entry(4, input=os.urandom(20000).hex()))
    journal._database.execute("PRAGMA max_page_count=1000000")
    assert journal.append(entry(4)) == 2
    journal.close()


WRITER = """
import sys
from tests_entry import entry
from axo.rate_monitor.journal import Journal
journal = Journal(sys.argv[1])
last = journal.last()
section = last.lumi_section if last else 0
while True:
    section += 1
    journal.append(entry(section))
    print(section, flush=True)
"""


def test_what_was_acknowledged_survives_a_kill(tmp_path):
    """A writer acknowledges each entry; killed at whatever instant, the journal has them all."""
    import inspect

    source = "from axo.rate_monitor.journal import Entry\n" + inspect.getsource(entry)
    (tmp_path / "tests_entry.py").write_text(source)
    path = tmp_path / "j"
    acknowledged = 0
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], cwd=tmp_path, stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            for _ in range(25):
                acknowledged = int(writer.stdout.readline())
            writer.send_signal(signal.SIGKILL)
            acknowledged = max([acknowledged, *map(int, writer.stdout.read().split())])
        reader = Journal(path, writable=False)
        sections = [found.lumi_section for found in reader.entries()]
        reader.close()
        assert sections == list(range(1, len(sections) + 1))
        assert len(sections) >= acknowledged
