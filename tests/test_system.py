"""Files written whole, and what is said of versions, hardware and the commit."""

import os
import pickle
import platform
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from common import system


def test_an_error_for_the_user_is_a_value_error():
    """Which is what `__post_init__` of a recipe's Config raises, and tyro passes on."""
    assert issubclass(system.UsageError, ValueError)


def test_an_error_for_the_user_is_one_line():
    error = system.UsageError("expected one,\n  received\ttwo\n")
    assert str(error) == "expected one, received two"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # as it leaves a process


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "MemoryError"),
        (ValueError("{{node a}} too large {{node b}}"), "too large"),
        (ValueError(300 * "a"), 200 * "a"),
    ],
)
def test_an_error_is_told_without_names_of_operations(error, said):
    assert system.message(error) == said


@pytest.mark.parametrize(
    "content", [b"whole", [b"who", b"", b"le"], iter([b"whole"])], ids=["one", "several", "drawn"]
)
def test_a_file_is_written_in_one_piece_or_several(content, tmp_path):
    file = tmp_path / "new" / "folder" / "file.json"
    system.write_whole(file, content)
    assert file.read_bytes() == b"whole"
    assert stat.S_IMODE(file.stat().st_mode) == 0o644  # other users may read it
    assert list(file.parent.iterdir()) == [file]


def test_a_file_is_replaced(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"a longer one that was there before")
    system.write_whole(file, b"new")
    assert file.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [file]


def pieces():
    yield b"half"
    raise KeyboardInterrupt


@pytest.mark.parametrize("there", [True, False])
def test_a_file_that_cannot_be_finished_leaves_what_was_there(there, tmp_path):
    file = tmp_path / "file"
    if there:
        file.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        system.write_whole(file, pieces())
    assert [one.read_bytes() for one in tmp_path.iterdir()] == [b"old"] * there


def test_while_a_file_is_written_the_old_one_is_read(tmp_path):
    file, seen = tmp_path / "file", []
    file.write_bytes(b"old")

    def watched():
        yield b"new"
        seen.append(file.read_bytes())

    system.write_whole(file, watched())
    assert seen == [b"old"]
    assert file.read_bytes() == b"new"


def test_a_place_that_cannot_be_written_is_an_os_error(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        system.write_whole(tmp_path / "file" / "below", b"")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        system.write_whole(tmp_path / "other", b"")
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_cores_are_those_that_the_process_may_use(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5, 7}, raising=False)
    monkeypatch.setattr(system, "CPU_LIMIT", tmp_path / "cpu.max")
    assert system.cores() == 3
    for limit, expected in (
        ("max 100000", 3),
        ("200000 100000", 2),
        ("50000 100000", 1),
        ("800000 100000", 3),
    ):
        system.CPU_LIMIT.write_text(f"{limit}\n")
        assert system.cores() == expected
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert system.cores() == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert system.cores() == 1


@given(st.lists(st.text(alphabet="a- %/.2D\\é", max_size=6), min_size=2, max_size=2, unique=True))
def test_two_names_are_never_one_file(names):
    one, other = map(system.file_stem, names)
    assert one != other
    assert re.fullmatch(r"[a-zA-Z0-9%+(),=._~-]*", one)


def test_a_name_of_words_stays_legible():
    assert system.file_stem("dropout + batch norm") == "dropout-+-batch-norm"
    assert system.file_stem("N(0, 1 / n)") == "N(0,-1-%2F-n)"


def test_versions_are_those_that_run():
    assert system.versions() == {
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
    }


def test_another_backend_is_named_with_its_version(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "scipy")
    assert system.versions().keys() == {"python", "tensorflow", "keras", "numpy", "scipy"}


def test_importing_it_needs_no_tensorflow():
    code = "import sys; from common import system; print('tensorflow' in sys.modules)"
    root = Path(system.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


def test_hardware_names_the_processor_or_the_gpus(monkeypatch):
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: [])
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    monkeypatch.setattr(Path, "read_text", lambda self: "x : 1\nmodel name\t: A Chip \nmodel n")
    assert system.hardware() == "A Chip, 7 cores"

    def absent(self):
        raise FileNotFoundError(self)

    monkeypatch.setattr(Path, "read_text", absent)  # as outside Linux
    monkeypatch.setattr(platform, "processor", lambda: "arm")
    assert system.hardware() == "arm, 7 cores"
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: ["one", "two"])
    details = {"one": {"device_name": "A GPU"}, "two": {"device_name": "Another"}}
    monkeypatch.setattr(tf.config.experimental, "get_device_details", details.get)
    assert system.hardware() == "A GPU, Another"


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_commit_and_whether_code_differs_from_it(tmp_path, monkeypatch):
    """In a repository of its own; `docs/` and README.md do not count."""
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.setattr(system, "__file__", str(tmp_path / "common" / "system.py"))
    for name in ("common/system.py", "docs/results.md", "README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("as committed")
    assert system.commit() is None  # outside a repository

    def git(*arguments: str) -> str:
        author = "-c", "user.name=test", "-c", "user.email=test", "-c", "commit.gpgsign=false"
        command = ["git", *author, *arguments]
        return subprocess.run(
            command, cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout

    git("init")
    assert system.commit() is None  # nothing is committed yet
    git("add", ".")
    git("commit", "--message", "first")
    head = git("rev-parse", "HEAD")[:12]
    assert system.commit() == head
    (tmp_path / "docs" / "results.md").write_text("new tables")
    (tmp_path / "README.md").write_text("new tables")
    assert system.commit() == head
    (tmp_path / "common" / "system.py").write_text("edited")
    assert system.commit() == f"{head}-dirty"
    (tmp_path / "common" / "system.py").write_text("as committed")
    (tmp_path / "common" / "new.py").touch()
    assert system.commit() == f"{head}-dirty"


def test_without_git_there_is_no_commit(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert system.commit() is None
