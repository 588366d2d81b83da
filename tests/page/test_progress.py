import io
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

import synthbook.page.progress  # noqa: F401  (the package attribute is the function)
from synthbook.page.progress import progress

module = sys.modules["synthbook.page.progress"]


class Handle:
    def __init__(self):
        self.shown = []

    def display(self, data, raw):
        self.shown.append(data["text/plain"])

    update = display


@pytest.fixture
def handle(monkeypatch):
    handle = Handle()
    monkeypatch.setattr(module, "_notebook_display", lambda: handle)
    monkeypatch.setattr(module, "UPDATE_SECONDS", 0.0)
    return handle


def test_items_pass_through_in_silence_outside_a_notebook(capsys):
    assert list(progress(iter("abc"), "letters")) == ["a", "b", "c"]
    assert capsys.readouterr() == ("", "")


def test_the_line_is_rewritten_and_emptied(handle):
    assert list(progress([1, 2, 3, 4], "epochs")) == [1, 2, 3, 4]
    assert [text.split(",")[0].split()[-1] for text in handle.shown[:-1]] == [
        "0/4", "1/4", "2/4", "3/4", "4/4",
    ]  # fmt: skip
    assert handle.shown[-1] == ""
    assert handle.shown[1].startswith("epochs ██████░")


def test_it_is_emptied_after_an_error_and_a_break(handle):
    def failing():
        yield 1
        raise RuntimeError

    with pytest.raises(RuntimeError):
        list(progress(failing(), "x"))
    assert handle.shown[-1] == ""
    loop = progress(range(5), "x")
    next(loop)
    loop.close()
    assert handle.shown[-1] == ""
    assert handle.shown.count("") == 2


def test_updates_are_rare(handle, monkeypatch):
    monkeypatch.setattr(module, "UPDATE_SECONDS", 60.0)
    list(progress(range(1000), "x"))
    assert len(handle.shown) == 2


def test_without_a_total_it_counts(handle):
    list(progress(iter([1, 2]), "draws"))
    assert handle.shown[1].startswith("draws 1, ")


def test_a_total_that_is_too_small_does_no_harm(handle):
    assert len(list(progress(iter(range(3)), "x", total=2))) == 3
    assert list(progress([], "x")) == []


def test_the_terminal_gets_a_bar(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "__stderr__", terminal)
    monkeypatch.setattr(module, "UPDATE_SECONDS", 0.0)
    for _ in progress(range(3), "epochs"):
        time.sleep(0.001)
    assert "epochs" in terminal.getvalue()
    assert not terminal.closed


def test_in_a_kernel_the_terminal_is_the_one_behind_it(monkeypatch):
    ours, theirs = os.openpty()
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(_original_stdstream_copy=theirs))
    list(progress(range(3), "epochs"))
    assert b"epochs" in os.read(ours, 1000)
    os.fstat(theirs)  # still open for the kernel
    for end in (ours, theirs):
        os.close(end)


def test_litter_is_dropped_and_nothing_else():
    def shown(kind, **data):
        return {"output_type": kind, "data": data}

    kept = [
        shown("display_data", **{"text/plain": "x"}),
        shown("display_data", **{"text/plain": "", "image/png": "iVBO"}),
        shown("execute_result", **{"text/plain": ""}),
        {"output_type": "stream", "name": "stdout", "text": ""},
    ]
    litter = [
        shown("display_data", **{"text/plain": ""}),
        shown("display_data"),
        shown("display_data", **{"text/plain": [""]}),
    ]
    assert module.without_litter([*litter, *kept, *litter]) == kept


NOTEBOOK = """
from synthbook.page.progress import progress
for k in progress(range(4), "epochs"): {body}
print("done")
"""


def executed(source):
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    return notebook.cells[0].outputs


@pytest.mark.slow
def test_a_kernel_leaves_only_what_the_cell_printed():
    outputs = executed(NOTEBOOK.format(body="__import__('time').sleep(0.3)"))
    assert [o["output_type"] for o in module.without_litter(outputs)] == ["stream"]
    assert [o["text"] for o in outputs if o["output_type"] == "stream"] == ["done\n"]
    assert len(outputs) == 2  # the rewritten line is one output, not five


@pytest.mark.slow
def test_papermill_in_a_terminal_shows_the_bar_there(book):
    """The bar of a kernel reaches the terminal in which papermill runs, and no output."""
    code = f"""
import nbformat
from nbclient import NotebookClient
source = {NOTEBOOK.format(body="__import__('time').sleep(0.3)")!r}
notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
assert "epochs" not in str(notebook.cells[0].outputs)
"""
    ours, theirs = os.openpty()
    done = subprocess.run([sys.executable, "-c", code], stderr=theirs, stdout=theirs, check=False)
    os.close(theirs)
    text = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:
            break
        if not part:
            break
        text += part
    os.close(ours)
    assert done.returncode == 0, text.decode()
    assert b"epochs" in text
    assert b"/4" in text
