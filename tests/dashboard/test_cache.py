"""The feature cache: built once, read a feature at a time, and refused when it is not what it should be."""

import shutil
import subprocess
import sys

import numpy as np
import pytest

from saes.errors import WorkbenchError
from workbench.activations.autoencoders import dictionary_on, open_sae
from workbench.dashboard.cache import FeatureCache
from workbench.dashboard.gathering import N_TOP
from workbench.dashboard.opening import whole_library
from workbench.interpret.find_features import feature_scores


def never():
    raise AssertionError("the model is not needed")


def test_a_cache_is_built_once_and_then_needs_no_model(library, opened):
    again = opened(model=never)
    for sae, cache in library.caches.items():
        assert again.cache(sae).folder == cache.folder
        assert again.cache(sae).features.equals(cache.features)


def test_top_prompts_are_those_of_the_highest_score(library, tiny_sd1):
    cache = library.cache("words")
    prompts = [shown.prompt for shown in library.prompts]
    sae = open_sae(cache.source.folder)
    scores = feature_scores(tiny_sd1, tiny_sd1.site("text.0"), dictionary_on(sae, tiny_sd1), prompts).numpy()
    for feature in range(0, cache.d_sae, 7):
        top = cache.top(feature)
        best = np.sort(scores[:, feature])[::-1][:N_TOP]
        np.testing.assert_allclose(top.scores, best[best > 0], rtol=2e-3)
        np.testing.assert_allclose(scores[top.prompts, feature], best[best > 0], rtol=1e-4)
        for prompt, values in zip(top.prompts, top.maps, strict=True):
            length = len(cache.prompts["tokens"][prompt])
            assert np.isclose(values[1:length].max(), scores[prompt, feature], rtol=2e-3)


def test_a_denoiser_has_pictures_and_a_course_over_the_steps(library, tiny_sd1):
    cache = library.cache("pixels")
    feature = int(cache.features["density"].argmax())
    assert cache.picture(0).shape == (tiny_sd1.image_size, tiny_sd1.image_size, 3)
    assert len(cache.steps(feature)) == len(cache.about["steps"]) > 1 and (cache.steps(feature) > 0).any()
    assert cache.top(feature).maps.shape[1] == cache.about["places"]
    assert library.cache("words").steps(0).size == 0


def test_concept_scores_contrast_prompts_that_name_it_with_those_that_do_not(library):
    rows = library.cache("words").concepts
    assert set(rows["concept"]) <= {"fox", "bear", "cat", "dog"} and (rows["auc"] > 0.5).all()
    of_feature = library.cache("words").concepts_of(int(rows["feature"].iloc[0]))
    assert of_feature["auc"].is_monotonic_decreasing and (of_feature["feature"] == rows["feature"].iloc[0]).all()


def loads_torch(statement):
    code = f"{statement}; import sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip() == "True"


def test_showing_loads_no_torch():
    modules = (f"workbench.dashboard.{name}" for name in ("opening", "app", "bench", "server", "export"))
    assert not loads_torch(f"import {', '.join(modules)}")
    assert loads_torch("import workbench.dashboard.building")


def test_a_damaged_cache_says_how_to_mend_it(library, tmp_path):
    cache = library.cache("words")
    for file, damage in (("arrays.safetensors", b"x"), ("features.parquet", b"x")):
        folder = tmp_path / file
        shutil.copytree(cache.folder, folder)
        (folder / file).write_bytes(damage)
        with pytest.raises(WorkbenchError, match="Remove this folder"):
            FeatureCache.open(cache.source, folder).top(0)


def test_what_was_killed_while_building_leaves_no_cache(root, tiny_sd1, tmp_path, monkeypatch):
    shutil.copytree(root / "run", tmp_path / "run", ignore=shutil.ignore_patterns("dashboard"))
    monkeypatch.setattr("workbench.dashboard.building._arrays", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        whole_library(tmp_path / "run", [str(root / "words")], model=lambda: tiny_sd1)
    assert not list((tmp_path / "run" / "dashboard").rglob("*.parquet"))


def test_another_model_than_the_runs_is_refused(root, tiny_sd2, tmp_path):
    shutil.copytree(root / "run", tmp_path / "run", ignore=shutil.ignore_patterns("dashboard"))
    with pytest.raises(WorkbenchError, match=r"another model than .* weights and"):
        whole_library(tmp_path / "run", [str(root / "words")], model=lambda: tiny_sd2)


def test_an_unfinished_run_is_refused(root, tmp_path):
    shutil.copytree(root / "run", tmp_path / "run", ignore=shutil.ignore_patterns("dashboard", "judges"))
    with pytest.raises(WorkbenchError, match="not finished"):
        whole_library(tmp_path / "run", [str(root / "words")], model=never)
