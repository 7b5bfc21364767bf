"""Which SAEs a dashboard shows, and what they are called."""

import json
import shutil

import pytest

from saes.errors import WorkbenchError
from tests.evaluation.drawn import MODEL, spec, suite
from workbench.dashboard.sources import short_names, sources_of
from workbench.evaluation.runs import Run
from workbench.evaluation.spec import EditSpec


def run_with(folder, **settings):
    edit = EditSpec(hash="h", kind="activation", method="itd", concepts=("red",), settings=settings, seed=0)
    return Run.begin(folder / "run", spec({"ItD": edit}, suite()))


def sae_folder(root, folder, **metadata):
    """A copy of the tiny SAE `words` that names no model, unless `metadata` does."""
    shutil.copytree(root / "words", folder)
    config = json.loads((folder / "cfg.json").read_text())
    config["metadata"] |= {"model_name": "someone else's", **metadata}
    (folder / "cfg.json").write_text(json.dumps(config))
    return str(folder)


def test_the_saes_of_edits_and_of_their_parts_are_shown_each_once(root, tmp_path):
    one, other = sae_folder(root, tmp_path / "one"), sae_folder(root, tmp_path / "other")
    run = run_with(tmp_path, sae=one, parts=[{"sae": other}, {"sae": one}, {}])
    assert [source.name for source in sources_of(run, [one])] == ["one", "other"]
    assert [source.site for source in sources_of(run)] == ["text.0", "text.0"]


def test_an_sae_that_only_an_edit_names_may_be_gone(root, tmp_path):
    run = run_with(tmp_path, sae=str(tmp_path / "gone"))
    assert len(sources_of(run, [sae_folder(root, tmp_path / "one")])) == 1
    with pytest.raises(WorkbenchError, match="name no autoencoder"):
        sources_of(run)
    with pytest.raises(WorkbenchError, match="is no SAE folder"):
        sources_of(run, [str(tmp_path / "gone")])


def test_an_sae_of_another_model_is_refused(root, tmp_path):
    run = run_with(tmp_path)
    with pytest.raises(WorkbenchError, match="other weights than the run's drawn"):
        sources_of(run, [sae_folder(root, tmp_path / "one", model_name="e" * len(MODEL.fingerprint))])


def test_an_sae_without_a_site_and_a_misspelt_shipped_one_are_refused(root, tmp_path):
    run = run_with(tmp_path)
    with pytest.raises(WorkbenchError, match="does not say its site"):
        sources_of(run, [sae_folder(root, tmp_path / "one", hook_name=None)])
    with pytest.raises(WorkbenchError, match="Did you mean 'toy/text"):
        sources_of(run, ["toy/text.3"])


def test_folders_are_called_by_as_many_parents_as_tell_them_apart(tmp_path):
    folders = {name: tmp_path / name for name in ("a/sae", "b/sae", "c/other")}
    assert short_names(folders) == {"a/sae": "a/sae", "b/sae": "b/sae", "c/other": "other"}
