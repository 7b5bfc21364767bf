"""YAML is refused where it would mean something else than it says."""

import pytest

from saes.errors import WorkbenchError
from saes.strict_yaml import from_yaml, read_yaml


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("fox: 1\nfox: 2", r"has the key 'fox' twice \(line 2\)"),
        ("a: {b: 1, c: {d: 1, d: 2}}", "has the key 'd' twice"),
        ("yes: 1", 'has yes without quotes, which YAML takes for true or false.*Write "yes"'),
        ("retain: [dog, No]", "has No without quotes"),
        ("prune: on", "has on without quotes"),
        ("true: 1", "has the key true, which is no text"),
        ("1984: {anchor: cat}", "has the key 1984, which is no text"),
        ("~: 1", "has the key ~, which is no text"),
        ("? [a]\n: 1", "has a sequence as a key"),
        ("seed: 010", "has 010 without quotes, which YAML takes for another number"),
        ("seed: 1:30", "has 1:30 without quotes"),
        ("a: b: c", r"is not valid YAML \(line 1\)"),
        ("a: 1\n---\nb: 1", "is not valid YAML"),
        ("a: 2021-02-31", "is not valid YAML"),
        ("a: !!python/object:os.system x", "is not valid YAML"),
        ("\x01", "is not valid YAML"),
        ("[" * 5000, "is not valid YAML"),
        ("a: &a [*a]", "stands for too many values"),
    ],
)
def test_what_is_not_plain_is_refused_by_its_line(text, says):
    with pytest.raises(WorkbenchError, match=says):
        from_yaml(text, "file.yaml")


@pytest.mark.parametrize("link", ["{{<<: [{}]}}", "{{z: [{}]}}"])
def test_ten_lines_that_stand_for_billions_are_refused(link):
    lines = ["x0: &x0 {a: 1}"]
    lines += [f"x{i}: &x{i} " + link.format(",".join([f"*x{i - 1}"] * 10)) for i in range(1, 11)]
    assert from_yaml("\n".join(lines[:3]), "few.yaml")
    with pytest.raises(WorkbenchError, match="stands for too many values"):
        from_yaml("\n".join(lines), "bomb.yaml")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"yes": 1\n"no": "on"', {"yes": 1, "no": "on"}),
        ("a: true\nb: False\nc: null", {"a": True, "b": False, "c": None}),
        ("a: &a {x: 1, y: 1}\nb: {<<: *a, x: 2}", {"a": {"x": 1, "y": 1}, "b": {"x": 2, "y": 1}}),
        ("k: [1, -2.5, 1.0e-3, 0]\nname: Füchse", {"k": [1, -2.5, 1e-3, 0], "name": "Füchse"}),
        ("", None),
    ],
)
def test_plain_yaml_means_what_it_says(text, value):
    assert from_yaml(text, "file.yaml") == value


def test_a_file_holds_one_mapping(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")
    assert read_yaml(tmp_path / "a.yaml") == {"a": 1, "b": 2}
    for text in ("- a", "a", ""):
        (tmp_path / "a.yaml").write_text(text)
        with pytest.raises(WorkbenchError, match="should hold a mapping"):
            read_yaml(tmp_path / "a.yaml")
    (tmp_path / "a.yaml").write_bytes("a: 1".encode("utf-16"))
    with pytest.raises(WorkbenchError, match="is not UTF-8 text"):
        read_yaml(tmp_path / "a.yaml")
