from __future__ import annotations

import errno
import logging
import os
import warnings
from pathlib import Path

import pytest
import torch

import neuro
from neuro.cli.console import complain, explain, log_file, say, shown_log, table
from neuro.errors import FileFormatError, InputError


def test_say_and_complain(capsys: pytest.CaptureFixture[str]) -> None:
    say("one")
    complain("two\n  lines")
    assert capsys.readouterr() == ("one\n", "neuro: two lines\n")


def test_table_aligns_text_left_and_numbers_right() -> None:
    rows: list[list[object]] = [["a", "1,234", "9.5 %", ""], ["long", "-", "100.0 %", 7]]
    assert table(["name", "count", "share", "n"], rows).splitlines() == [
        "name  count    share  n",
        "a     1,234    9.5 %",
        "long      -  100.0 %  7",
    ]
    assert table(["a", "b"], []) == "a  b"


def full(name: Path | None = None) -> OSError:
    words = os.strerror(errno.ENOSPC)
    return OSError(errno.ENOSPC, words) if name is None else OSError(errno.ENOSPC, words, str(name))


def test_full_disk_names_place_and_room(tmp_path: Path) -> None:
    line = explain(full(tmp_path / "a.txt"))
    assert line is not None
    assert line.startswith("disk full: ")
    assert f" MB free for {tmp_path}; earlier files are whole, make room" in line
    assert str(tmp_path / "not" / "there") in str(explain(full(), [tmp_path / "not" / "there"]))
    assert str(Path.cwd()) in str(explain(full()))


def test_out_of_memory_in_the_words_of_torch() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**46)
    assert str(explain(caught.value)).startswith("out of memory; ")


def test_full_disk_in_the_words_of_other_libraries(tmp_path: Path) -> None:
    rust = RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")
    assert "disk full" in str(explain(rust, [tmp_path]))
    saving = RuntimeError("unexpected pos 64 vs 0")
    saving.__context__ = full()
    assert "disk full" in str(explain(saving, [tmp_path]))


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (InputError("use this"), "use this"),
        (FileFormatError("f", "broken", offset=3), "f at byte 3: broken"),
        (PermissionError(errno.EACCES, "x", "/a/b"), "/a/b: permission denied"),
        (OSError(errno.EROFS, "x", b"/a/b"), "/a/b: read-only file system"),
        (OSError(errno.EFBIG, "x", "/a/b"), "a file in /a would exceed the limit on file sizes; raise it (ulimit -f)"),
        (MemoryError(), "out of memory; choose a smaller --batch-size or --hidden, or a larger --dt"),
        (FileNotFoundError(errno.ENOENT, "x", "/a/b"), None),
        (PermissionError(errno.EACCES, "x"), None),
        (ValueError("a bug"), None),
    ],
)
def test_what_is_the_users_to_mend(error: Exception, line: str | None) -> None:
    assert explain(error) == line


def test_log_file_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    log = logging.getLogger("neuro.test")
    for word in ("first", "second"):
        with warnings.catch_warnings(), shown_log(verbose=False), log_file(path):
            warnings.simplefilter("always")
            log.info(word)
            warnings.warn(f"{word} warning", UserWarning, stacklevel=1)
        log.info("outside")
    text = path.read_text()
    assert all(words in text for words in ("first\n", "first warning", "second\n", "second warning"))
    assert "outside" not in text
    assert text.count(f"neuro {neuro.__version__}: ") == 2


def test_log_on_a_full_disk_is_an_error() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    with pytest.raises(OSError, match="No space") as caught, log_file(Path("/dev/full")):
        logging.getLogger("neuro.test").warning("lost")
    assert caught.value.errno == errno.ENOSPC


def test_warnings_of_ours_are_shown_and_others_only_if_asked(capsys: pytest.CaptureFixture[str]) -> None:
    for verbose in (False, True):
        with shown_log(verbose=verbose):
            logging.getLogger("neuro.x").warning("ours")
            logging.getLogger("neuro.x").debug("detail")
            logging.getLogger("other").warning("theirs")
    assert capsys.readouterr().err.splitlines() == [
        "WARNING neuro.x: ours",
        "WARNING neuro.x: ours",
        "DEBUG neuro.x: detail",
        "WARNING other: theirs",
    ]


def test_logging_is_left_as_it_was() -> None:
    root = logging.getLogger()
    before = list(root.handlers), logging.getLogger("neuro").level
    with shown_log(verbose=True), log_file(Path(os.devnull)):
        pass
    assert (list(root.handlers), logging.getLogger("neuro").level) == before
