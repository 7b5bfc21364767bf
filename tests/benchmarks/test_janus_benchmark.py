"""The benchmark of a Janus: both ways agree (it asserts that itself), and each figure stands beside its bound."""

from benchmarks.janus import main


def test_each_figure_stands_beside_its_bound(tiny_janus, capsys):
    main([tiny_janus.name, "--pictures", "2", "--rounds", "1"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["cache", "together", "one site read", "EAR's windows"]
    assert all(float(line.partition(": ")[2].partition("×")[0]) > 0 and "bound" in line for line in lines)
