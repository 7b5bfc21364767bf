"""Bars appear on the error stream only, and pass items on unchanged."""

from saes.progress import Progress
from workbench.progress import progress_bars


def test_bars_pass_items_on_and_leave_standard_output_free(capsys):
    with progress_bars() as progress:
        assert isinstance(progress, Progress)
        assert list(progress([1, 2, 3], "outer")) == [1, 2, 3]
        assert list(progress(iter("ab"), "counted", total=2)) == ["a", "b"]
        assert list(progress(iter("ab"), "uncounted")) == ["a", "b"]
        for _ in progress(range(2), "twice"):
            list(progress(range(5), "inner"))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "outer" in shown.err and "3/3" in shown.err and "2/2" in shown.err
    assert shown.err.count("inner") == 1  # a label met again reuses its bar


def test_a_loop_that_breaks_off_leaves_its_count(capsys):
    with progress_bars() as progress:
        for item in progress(range(10), "broken"):
            if item == 4:
                break
    assert "4/10" in capsys.readouterr().err


def test_nothing_to_do_leaves_no_trace(capsys):
    with progress_bars():
        pass
    assert capsys.readouterr().err == ""
