"""Two processes harvest one store, as `accelerate launch` starts them: it has the bits that one gives it."""

import multiprocessing
import os
import signal
import socket

import pytest
from accelerate import PartialState

from saes import ActivationStore, WorkbenchError
from workbench.activations.harvest import IMAGE_CHUNK, harvest

PROMPTS = [f"a photo of {number} foxes" for number in range(3 * IMAGE_CHUNK + 2)]
SITES, OPTIONS = ["text.1", "unet.mid"], {"steps": 2, "pixel_rate": 0.5}


def launched(work, count=2):
    """Exit codes of forked processes that find themselves to be a team."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def member(rank):
        names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        os.environ.update({name: str(value) for name, value in names.items()}, ACCELERATE_USE_CPU="true")
        PartialState._reset_state()
        work(rank)

    children = [multiprocessing.get_context("fork").Process(target=member, args=(rank,)) for rank in range(count)]
    for child in children:
        child.start()
    while any(child.is_alive() for child in children):
        for child in children:
            child.join(0.1)
        if any(child.exitcode for child in children):  # as the launcher does, where one of them dies
            for child in children:
                child.kill()
    return [child.exitcode for child in children]


def contents(store):
    return {path.name: path.read_bytes() for path in store.store_dir.iterdir()}


def test_two_processes_give_the_bits_of_one_also_when_one_was_killed(tiny_sd1, tmp_path):
    made = tmp_path / "made"

    def work(rank):
        def progress(chunks, label):
            for chunk in chunks:
                made.mkdir(exist_ok=True)
                (made / f"{rank}-{chunk}").touch()
                if dies and (rank, chunk) == (1, 3):
                    os.kill(os.getpid(), signal.SIGKILL)
                yield chunk

        store = harvest(tiny_sd1, PROMPTS, SITES, tmp_path / "two", progress=progress, **OPTIONS)
        assert store.fingerprint == alone.fingerprint

    alone, dies = harvest(tiny_sd1, PROMPTS, SITES, tmp_path / "one", **OPTIONS), True
    assert launched(work)[1] == -signal.SIGKILL
    with pytest.raises(WorkbenchError, match=r"unfinished: \d of 4 chunks"):
        ActivationStore.open(tmp_path / "two")
    dies = False
    assert launched(work) == [0, 0]
    assert {path.name for path in made.iterdir()} == {"0-0", "0-2", "1-1", "1-3"}
    assert contents(ActivationStore.open(tmp_path / "two")) == contents(alone)


def test_a_second_harvest_in_one_folder_says_so(tiny_sd1, tmp_path):
    said = multiprocessing.get_context("fork").Queue()

    def second():
        try:
            harvest(tiny_sd1, PROMPTS, SITES[:1], tmp_path / "store")
        except WorkbenchError as error:
            said.put(error.problem)

    def progress(chunks, label):
        child = multiprocessing.get_context("fork").Process(target=second)
        child.start()
        assert "is being worked in by process" in said.get(timeout=60)
        child.join()
        yield from chunks

    store = harvest(tiny_sd1, PROMPTS, SITES[:1], tmp_path / "store", progress=progress)
    assert not list(store.store_dir.glob(".*"))
