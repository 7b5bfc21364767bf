"""The share of an evaluation that is not its model, and the seconds of metrics and report."""

import pytest

from benchmarks.bookkeeping import main, seconds_of_metrics_and_report, share_beside_the_model


@pytest.mark.slow
def test_the_share_is_one_and_the_model_has_most_of_it():
    assert 0 < share_beside_the_model(8) < 0.5


def test_metrics_and_report_of_few_pictures_take_a_moment():
    metrics, report = seconds_of_metrics_and_report(16)
    assert 0 < metrics < report < 60


@pytest.mark.slow
def test_each_figure_stands_beside_its_bound(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["bookkeeping", "--images", "8", "--pictures", "16"])
    main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.rpartition("(bound ")[2] for line in lines] == ["10%)", "1 s)", "5 s)"]
