import io
import os
import sys
from types import SimpleNamespace

import pytest

from synthbook.page.progress import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "__stderr__", terminal)
    return terminal


def test_items_pass_through_in_silence_without_a_terminal(capsys):
    assert list(progress(iter("abc"), "letters")) == ["a", "b", "c"]
    assert capsys.readouterr() == ("", "")


def test_the_terminal_gets_a_bar_and_stays_open(terminal, capsys):
    assert list(progress([1, 2, 3], "epochs")) == [1, 2, 3]
    assert "epochs" in terminal.getvalue()
    assert "/3" in terminal.getvalue()
    assert not terminal.closed
    assert capsys.readouterr() == ("", "")


def test_the_bar_goes_after_an_error_and_a_break(terminal):
    def failing():
        yield 1
        raise RuntimeError

    with pytest.raises(RuntimeError):
        list(progress(failing(), "x"))
    assert terminal.getvalue().endswith("\r")
    loop = progress(range(5), "x")
    next(loop)
    loop.close()
    assert terminal.getvalue().endswith("\r")


def test_in_a_kernel_the_terminal_is_the_one_behind_it(monkeypatch):
    ours, theirs = os.openpty()
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(_original_stdstream_copy=theirs))
    list(progress(range(3), "epochs"))
    assert b"epochs" in os.read(ours, 1000)
    os.fstat(theirs)  # still open for the kernel
    for end in (ours, theirs):
        os.close(end)


@pytest.mark.slow
def test_papermill_in_a_terminal_shows_the_bar_there_and_nothing_in_the_cell():
    import subprocess

    code = """
import nbformat
from nbclient import NotebookClient
source = '''
from synthbook.page.progress import progress
for k in progress(range(4), "epochs"): __import__("time").sleep(0.3)
print("done")
'''
notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
(output,) = notebook.cells[0].outputs
assert output["text"] == "done\\n", output
"""
    ours, theirs = os.openpty()
    done = subprocess.run([sys.executable, "-c", code], stderr=theirs, stdout=theirs, check=False)
    os.close(theirs)
    text = b""
    try:
        while part := os.read(ours, 4096):
            text += part
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    assert done.returncode == 0, text.decode()
    assert b"epochs" in text
    assert b"/4" in text
