"""Bad input gets one clear sentence with a remedy and exit code 1, and leaves what was there as it was."""

import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from workbench.cli.main import main

Damage = Callable[[Path, Path], object]  # the folder of the fixture, and where to put the damaged thing


def written(text: str) -> Damage:
    return lambda _, path: path.write_text(text)


def copied(name: str, change: Callable[[Path], object]) -> Damage:
    """A copy of something that was made, changed."""

    def damage(made: Path, path: Path) -> None:
        change(shutil.copytree(made / name, path))

    return damage


def cut(pattern: str) -> Callable[[Path], object]:
    """Takes the end away from the one file of that name."""

    def change(folder: Path) -> None:
        (found,) = folder.glob(pattern)
        found.write_bytes(found.read_bytes()[:-20])

    return change


def renamed(pattern: str, suffix: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        (found,) = folder.glob(pattern)
        found.rename(found.with_suffix(suffix))

    return change


def with_number(name: str, number: float) -> Callable[[Path], object]:
    """Puts a number into the middle of a tensor of the denoiser."""

    def change(folder: Path) -> None:
        path = folder / "unet/diffusion_pytorch_model.safetensors"
        tensors = load_file(path)
        tensors[name].view(-1)[tensors[name].numel() // 2] = number
        save_file(tensors, path, metadata={"format": "pt"})

    return change


def pickled_sae(_: Path, path: Path) -> None:
    path.mkdir()
    (path / "sae.pt").write_bytes(b"\x80\x04")


def with_defaults(entry: str) -> Damage:
    """A model with one entry of its workbench.json replaced."""
    given, (key, _) = '{"steps": 4, "guidance_scale": 7.5, "image_size": 32}', entry.split(":")
    said = re.sub(f"{key}: [^,}}]+", entry, given)
    return copied("model", lambda folder: (folder / "workbench.json").write_text(said))


def wild_edit(made: Path, path: Path) -> None:
    """An edit of finite numbers that no picture survives."""
    from workbench.edits import load_edit

    load_edit(made / "weights").scaled(1e38).save(path)


def wide_sae(_: Path, path: Path) -> None:
    """An autoencoder for 8 channels, which no text layer of the pipelines has."""
    from sae_lens import StandardSAE, StandardSAEConfig

    import saes

    saes.save(StandardSAE(StandardSAEConfig(d_in=8, d_sae=16)), path, {"hook_name": "text.1"})


DAMAGED: dict[str, Damage] = {  # what a command may name below {tmp}; made for the cases that do
    "empty.txt": written("\n  \n"),
    "typo.yaml": written("fox: {ancor: cat}\n"),
    "options.yaml": written("d_sae: 16\n"),
    "sweep.yaml": written("{model: toy, prompts: 9, sites: [text.2], base: {d_sae: 64, k: 4}, vary: {k: [4, 8]}}\n"),
    "study.yaml": written(
        "{question: '', model: toy, concept: fox, sparing: [cat], claim: necessary, subject: {layers: [text.2]}, "
        "prompts: 10000000}"
    ),
    "store": copied("store", cut("shard-000000.safetensors")),
    "sae": copied("sae", cut("sae_weights.safetensors")),
    "edit": copied("edit", cut("tensors.safetensors")),
    "model": copied("model", cut("unet/*.safetensors")),
    "pickled": pickled_sae,
    "pickled_model": copied("model", renamed("unet/*.safetensors", ".bin")),
    "wide": wide_sae,
    "wild": wild_edit,
    "nan_model": copied("model", with_number("conv_in.weight", math.nan)),
    "infinite_model": copied("model", with_number("mid_block.attentions.0.proj_in.bias", math.inf)),
}
CASES = {  # what is wrong → the command, and what it must say; {made} is the folder of the fixture, {tmp} a fresh one
    "unknown model": ("sites tooy", "Unknown model 'tooy'. Did you mean 'toy'?"),
    "no pipeline": ("sites {made}/sae", "is no model: it has no model_index.json, and no config.json. Give the folder"),
    "unknown site": (
        "harvest {made}/model text.9 --prompts-file {made}/prompts.txt --out {tmp}/new",
        r"Unknown site 'text.9'. Did you mean 'text.\d",
    ),
    "site not in store": ("train {made}/store text.0 --out {tmp}/new", "Unknown site 'text.0'. Did you mean 'text.1'?"),
    "unknown concept": ("erase toy foxx --out {tmp}/new", r"Unknown concept 'foxx'. Did you mean 'fox'.*foxx.yaml\."),
    "unknown concept key": ("erase {made}/model {tmp}/typo.yaml --out {tmp}/new", "Unknown key 'ancor'.* 'anchor'?"),
    "unknown method": (
        "erase {made}/model {made}/fox.yaml --method idt --out {tmp}/new",
        "Unknown method 'idt'. Did you mean 'itd'?",
    ),
    "unknown setting": (
        "erase {made}/model {made}/fox.yaml --set strenght=-4 --out {tmp}/new",
        "method itd: Unknown key 'strenght'. Did you mean 'strength'",
    ),
    "setting by an option and by --set": (
        "train {made}/store text.1 --k 4 --set k=5 --out {tmp}/new",
        "'k' is given twice, by --k and by --set. Give it once.",
    ),
    "setting by a file and by --set": (
        "train {made}/store text.1 --config {tmp}/options.yaml --set d_sae=32 --out {tmp}/new",
        "'d_sae' is given twice, by --d-sae and by --set. Give it once.",
    ),
    "setting twice by --set": (
        "erase {made}/model {made}/fox.yaml --method uce --set damping=1 --set damping=2 --out {tmp}/new",
        "--set: 'damping' is given twice. Give it once.",
    ),
    "setting of a comparison twice": (
        "compare {made}/model fox --method uce --set uce.damping=1 --set uce.damping=2 --out {tmp}/new",
        "--set: 'uce.damping' is given twice. Give it once.",
    ),
    "setting fixed and varied": (
        "sweep {tmp}/sweep.yaml --out {tmp}/new",
        "'k' is given twice, in base and in vary. Give it once.",
    ),
    "unknown architecture": (
        "train {made}/store text.1 --architecture tpok --out {tmp}/new",
        "architecture: Input should be 'topk'",
    ),
    "SAE of another width": (
        "erase {made}/other {made}/fox.yaml --set sae={tmp}/wide --out {tmp}/new",
        r"The SAE takes 8 channels but text.1 has \d+. It was trained at 'text.1'",
    ),
    "store of another model": (
        "harvest {made}/other text.1 --prompts-file {made}/prompts.txt --out {made}/store",
        "holds a store with another .*. Choose another folder",
    ),
    "edit of another model": (
        "generate {made}/other fox --edit {made}/edit --out {tmp}/new",
        "was fitted on another model .* Load the model that it was fitted on",
    ),
    "truncated store": (
        "train {tmp}/store text.1 --out {tmp}/new",
        r"The activation store is damaged: .*shard-000000.safetensors has \d+ bytes instead of \d+. Remove its folder",
    ),
    "truncated SAE": (
        "find {made}/model {made}/fox.yaml --sae {tmp}/sae",
        "sae_weights.safetensors was altered: .* Restore a copy",
    ),
    "truncated edit": (
        "edits show {tmp}/edit",
        "tensors.safetensors is not a whole safetensors file .* Make it again",
    ),
    "truncated model": ("sites {tmp}/model", r"safetensors.*\. \w+"),
    "NaN in a model": (
        "sites {tmp}/nan_model",
        r"weights in .*nan_model/unet hold NaN or infinity, in conv_in.weight\. Download or save the model again",
    ),
    "infinity in a model": (
        "generate {tmp}/infinite_model fox --out {tmp}/new",
        r"hold NaN or infinity, in mid_block.attentions.0.proj_in.bias\. Download",
    ),
    "pickled SAE": (
        "find {made}/model {made}/fox.yaml --sae {tmp}/pickled",
        r"holds a pickle checkpoint \(sae.pt\), and opening one can run any code. Save it with sae-lens",
    ),
    "pickled model": ("sites {tmp}/pickled_model", r"(pickle|\.bin).*\. \w+"),
    "pictures of NaN": (
        "generate {made}/model fox --edit {tmp}/wild --count 2 --out {tmp}/new",
        r"2 of 2 pictures are not numbers: .* while they were made\. Weaken the edits in place or the guidance",
    ),
    "more prompts than there are": (
        "evaluate {made}/model fox --edit {made}/edit --per-role 10000000 --out {tmp}/new",
        "10000000 prompts of each role are 60000000 pictures for every condition. Choose 1000 or fewer: this world",
    ),
    "more prompts than there are to compare": (
        "compare {made}/model fox --method uce --per-role 1001 --out {tmp}/new",
        "1001 prompts of each role are 6006 pictures for every condition. Choose 1000 or fewer",
    ),
    "more prompts than there are to study": (
        "study run {tmp}/study.yaml --out {tmp}/new",
        r"Only \d+ held-out prompts of 'fox' were found, and 10000000 are asked for. Ask for fewer",
    ),
    "no folder": ("runs {tmp}/nowhere", "nowhere is no folder. Give the folder of a run, or one with runs below"),
    "a file for a folder": ("runs {tmp}/file", "file is no folder. Give the folder of a run"),
    "no prompts": (
        "harvest {made}/model text.1 --prompts-file {tmp}/empty.txt --out {tmp}/new",
        "empty.txt has no prompts. Write a prompt a line into it.",
    ),
    "no prompt": ("generate {made}/model --out {tmp}/new", "There are no prompts. Give one in quotes"),
    "no run": ("report {made}/sae", "is not a run folder, and no run is below it. Make one"),
    "no store": (
        "train {made}/sae text.1 --out {tmp}/new",
        "sae is no activation store. Make one with `workbench h",
    ),
    "baked edit of activations": (
        "bake {made}/model {made}/edit --out {tmp}/new",
        "The itd edit of fox acts while the model runs and is not in weights. Use it with",
    ),
    "exported edit of activations": (
        "export {made}/model {made}/edit --out {tmp}/new",
        "The itd edit of fox acts while the model runs and is not in weights. Use it with",
    ),
    "imported pickle": (
        "import {made}/model {tmp}/fox.pt --concept fox --method esd --out {tmp}/new",
        "fox.pt is no safetensors file, and what is pickled is never opened here. Have its owner save it",
    ),
    "model that was not baked": (
        "bake {made}/model {made}/weights --undo --out {tmp}/new",
        "was not baked: it has no baked.json. Give a folder that",
    ),
    "edit shown on another model": (
        "edits show {made}/weights --model {made}/other",
        "was fitted on another model .* Load the model that it was fitted on",
    ),
    "existing baked": ("bake {made}/model {made}/weights --out {made}/sae", "sae exists already. Choose another"),
    "existing images": ("generate {made}/model fox --out {made}/sae", "sae exists already. Choose another"),
    "run in a folder of something else": (
        "evaluate {made}/model fox --edit {made}/edit --out {made}/sae",
        "sae holds other files and is no run. Choose a new or an empty folder.",
    ),
    "comparison in a folder of something else": (
        "compare {made}/model fox --method uce --out {made}/sae",
        "sae holds other files and is no run. Choose a new or an empty folder.",
    ),
    "existing table": (
        "find {made}/model {made}/fox.yaml --sae {made}/sae --out {made}/store",
        "store exists already.",
    ),
    "existing edit": ("erase {made}/model {made}/fox.yaml --out {made}/edit", "edit exists already. Choose another"),
}
DEFAULTS = {  # an entry of a model's workbench.json → what is said of it
    '"steps": 0': "steps: .* greater than or equal to 1. It is 0; correct it",
    '"steps": 5000': "steps is 5000. Choose 1 to 1000",
    '"steps": "20"': "steps: .* a valid integer. It is '20'; correct it",
    '"steps": true': "steps: .* a valid integer. It is True; correct it",
    '"guidance_scale": NaN': r"NaN.*\. \w+",
    '"guidance_scale": 1e30': "guidance_scale: .* less than or equal to 1000. It is 1e",
    '"image_size": -32': "image_size: .* greater than or equal to 1. It is -32; correct it",
    '"image_size": 33': "image_size is 33. Choose a multiple of 8",
    '"image_size": 1000000000': "image_size: .* less than or equal to 16384. It is 1000000000; correct it",
}
for number, (entry, says) in enumerate(DEFAULTS.items()):
    DAMAGED[f"model{number}"] = with_defaults(entry)
    CASES[entry] = (f"sites {{tmp}}/model{number}", f"workbench.json.*{says}")
NOT_WRITABLE = {
    "harvest": "harvest {made}/model text.1 --prompts-file {made}/prompts.txt --out {tmp}/file/new",
    "train": "train {made}/store text.1 --out {tmp}/file/new",
    "erase": "erase {made}/model {made}/fox.yaml --out {tmp}/file/new",
    "generate": "generate {made}/model fox --out {tmp}/file/new",
    "evaluate": "evaluate {made}/model {made}/fox.yaml --edit {made}/edit --out {tmp}/file/new",
    "find": "find {made}/model {made}/fox.yaml --sae {made}/sae --out {tmp}/file/new",
    "report": "report {made}/sae --out {tmp}/file/new",
    "bake": "bake {made}/model {made}/weights --out {tmp}/file/new",
    "demo": "demo --out {tmp}/file/new",
}


@pytest.fixture
def tmp(made: Path, tmp_path: Path) -> Path:
    """An empty folder with a file in it."""
    (tmp_path / "file").write_text("")
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_gets_one_sentence_and_a_remedy(case, capsys, made, tmp):
    command, says = CASES[case]
    for name in DAMAGED.keys() & re.findall(r"\{tmp\}/([\w.]+)", command):
        DAMAGED[name](made, tmp / name)
    before = contents(made)
    code = main(command.format(made=made, tmp=tmp).split())
    shown = capsys.readouterr()
    assert code == 1
    error = shown.err[shown.err.index("Error: ") :]
    assert re.search(says.replace("?", r"\?") if says.endswith("'?") else says, error, re.DOTALL), error
    assert "fault of the workbench" not in error and "Traceback" not in error
    assert contents(made) == before and not (tmp / "new").exists()


@pytest.mark.parametrize("command", NOT_WRITABLE)
def test_a_place_that_cannot_be_written_is_refused_before_any_work(command, capsys, made, tmp):
    assert main(NOT_WRITABLE[command].format(made=made, tmp=tmp).split()) == 1
    assert re.search(r"Cannot write .*file/new.*\. Choose (another|a) place", capsys.readouterr().err)


@pytest.mark.slow
def test_an_interrupted_harvest_says_how_to_go_on_and_goes_on(made, tmp_path):
    many = tmp_path / "many.txt"
    many.write_text((made / "prompts.txt").read_text() * 300)
    words = ["harvest", str(made / "model"), "text.1", "--prompts-file", str(many), "--out", str(tmp_path / "store")]
    process = subprocess.Popen(
        [sys.executable, "-m", "workbench", *words], stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )  # fmt: skip
    shard, later = (tmp_path / f"store/shard-00000{number}.safetensors" for number in (0, 1))
    while not later.exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, shown = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Interrupted. Run the same command again" in shown and "Traceback" not in shown
    first = shard.stat().st_mtime_ns
    done = len(list((tmp_path / "store").glob("shard-*")))
    assert main(words) == 0
    assert shard.stat().st_mtime_ns == first  # what was finished was not made again
    assert len(list((tmp_path / "store").glob("shard-*"))) > done
    assert os.listdir(tmp_path / "store").count("manifest.json") == 1
