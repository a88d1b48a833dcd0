"""Records of what has to be given back, and folders of killed processes, without an engine."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from mmstack_ops.adapters.tool_containers.exchange_folder import abandoned_folders, exchange_folder
from mmstack_ops.adapters.tool_containers.running_tool import program_of
from mmstack_ops.adapters.undo_journal import Journal


def test_a_record_is_there_during_the_block_only(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    with journal.entry("setting", {"value": "1"}):
        assert len(list((tmp_path / "journal").glob("*.json"))) == 1
        # Ours, and we live.
        assert list(journal.leftovers("setting")) == []
    assert list((tmp_path / "journal").iterdir()) == []


def test_a_block_that_fails_leaves_its_record(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    with pytest.raises(ZeroDivisionError), journal.entry("setting", {"value": "1"}):
        _ = 1 / 0
    assert list(journal.leftovers("another")) == []
    assert list(journal.leftovers("setting")) == [{"value": "1"}]
    assert list(journal.leftovers("setting")) == []


def test_looking_at_what_was_left_leaves_it_there(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    assert list(journal.abandoned("setting")) == []
    with journal.entry("setting", {"value": "2"}):
        # Ours, and we live.
        assert list(journal.abandoned("setting")) == []
    with pytest.raises(ZeroDivisionError), journal.entry("setting", {"value": "1"}):
        _ = 1 / 0
    for _ in range(2):
        assert list(journal.abandoned("another")) == []
        assert list(journal.abandoned("setting")) == [{"value": "1"}]
    assert list(journal.leftovers("setting")) == [{"value": "1"}]


def leave(journal: Journal, value: str) -> None:
    with pytest.raises(ZeroDivisionError), journal.entry("setting", {"value": value}):
        _ = 1 / 0


def test_two_who_look_at_once_see_the_same(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    leave(journal, "1")
    leave(journal, "2")
    looking = iter(journal.abandoned("setting"))
    found = [next(looking)]
    assert len(list(journal.abandoned("setting"))) == 2
    found += looking
    assert sorted(one["value"] for one in found) == ["1", "2"]


def test_the_records_of_a_key_are_seen_together_or_not_at_all(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    leave(journal, "1")
    dies = threading.Event()
    lives = threading.Event()

    def work() -> None:
        with suppress(RuntimeError), journal.entry("setting", {"value": "2"}):
            lives.set()
            dies.wait()
            raise RuntimeError

    owner = threading.Thread(target=work)
    owner.start()
    lives.wait()
    found: list[str] = []
    looker = threading.Thread(
        target=lambda: found.extend(one["value"] for one in journal.abandoned("setting"))
    )
    looker.start()
    dies.set()
    looker.join()
    owner.join()
    assert sorted(found) == ["1", "2"]


def test_a_key_of_which_a_record_has_an_owner_is_not_abandoned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmstack_ops.adapters.undo_journal._BETWEEN_LOOKS", 0)
    journal = Journal(tmp_path / "journal")
    leave(journal, "1")
    with journal.entry("setting", {"value": "2"}):
        assert list(journal.abandoned("setting")) == []
    assert list(journal.abandoned("setting")) == [{"value": "1"}]


def test_what_couldnt_be_given_back_stays(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    with pytest.raises(ZeroDivisionError), journal.entry("setting", {"value": "1"}):
        _ = 1 / 0
    undoing = journal.leftovers("setting")
    assert next(undoing) == {"value": "1"}  # type: ignore[call-overload]
    # Giving it back raised: the record isn't asked to go.
    undoing.close()  # type: ignore[attr-defined]
    assert list(journal.leftovers("setting")) == [{"value": "1"}]


_HOLDS = """
import sys
import threading
from pathlib import Path
from mmstack_ops.adapters.tool_containers.exchange_folder import exchange_folder
from mmstack_ops.adapters.undo_journal import Journal
base = Path(sys.argv[1])
with Journal(base / "journal").entry("setting", {"value": "1"}):
    with exchange_folder(base / "exchange", {"key": "hush"}):
        print("holds", flush=True)
        sys.stdin.read()
"""


def test_a_killed_process_is_told_from_a_live_one(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDS, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"holds\n"
    journal = Journal(tmp_path / "journal")
    with abandoned_folders(tmp_path / "exchange") as (alive, dead):
        assert (len(alive), dead) == (1, [])
    assert list(journal.leftovers("setting")) == []
    process.send_signal(signal.SIGKILL)
    process.wait()
    with abandoned_folders(tmp_path / "exchange") as (alive, dead):
        assert (alive, len(dead)) == ([], 1)
    assert list(journal.leftovers("setting")) == [{"value": "1"}]


def test_an_exchange_folder_is_private_and_goes(tmp_path: Path) -> None:
    base = tmp_path / "state" / "exchange"
    with exchange_folder(base, {"key": "hush"}) as exchange:
        for path, mode in (
            (base, 0o700),
            (exchange.folder, 0o700),
            (exchange.out_path, 0o600),
            (exchange.folder / "secrets" / "key", 0o600),
        ):
            assert stat.S_IMODE(path.stat().st_mode) == mode
        assert exchange.open_in() is None
        reader = exchange.open_out()
        assert os.read(reader, 10) == b""
        os.close(reader)
    assert list(base.iterdir()) == []


@pytest.mark.parametrize(
    ("command", "program"),
    [
        (["pg_dump", "-x"], "pg_dump"),
        (["sh", "-c", 'exec pg_dumpall --globals-only >"$OUT"'], "pg_dumpall"),
        (["sh", "-c", '{ pg_restore -f /dev/null && cat; } <"$IN"'], "pg_restore"),
        (["sh", "-c", 'A="$(cat /x)" exec redis-cli --rdb -'], "redis-cli"),
        (["sh", "-c", "\nset -eu\nhead -c 5 x"], "head"),
    ],
)
def test_messages_name_the_program(command: list[str], program: str) -> None:
    assert program_of(command) == program
