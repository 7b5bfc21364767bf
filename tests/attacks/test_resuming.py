"""A run of attacks that is killed goes on where it stopped: what was found is there, and what comes out is the same.
Several processes share it."""

import multiprocessing
import time

from tests.attacks.painter import ERASED, JUDGE, SUITE, Before, Painter, painter
from workbench.attacks.attack import Budget
from workbench.attacks.attempts import Attempts
from workbench.attacks.running import run_attacks
from workbench.attacks.tables import attack_table
from workbench.evaluation.runs import Run


class Slow(Painter):
    """Takes a while for each batch."""

    def generate(self, *given, **told):
        time.sleep(0.1)
        return super().generate(*given, **told)


def attack(folder, model):
    return run_attacks(
        model, {"erased": ERASED}, SUITE, {"before": Before()}, JUDGE, folder, budget=Budget(images=2), batch_size=2
    )


def test_a_kill_costs_one_batch(tmp_path):
    model = painter()
    model.__class__ = Slow
    child = multiprocessing.get_context("fork").Process(target=attack, args=(tmp_path / "run", model))
    child.start()
    kept = tmp_path / "run/attempts"
    while child.is_alive() and len(list(kept.glob("*.json"))) < 10:
        time.sleep(0.005)
    child.kill()
    child.join()
    assert child.exitcode == -9, "it ended by itself"
    before = {path.name: path.stat().st_mtime_ns for path in kept.glob("*.json")}
    resumed = attack(tmp_path / "run", painter())
    after = {path.name: path.stat().st_mtime_ns for path in kept.glob("*.json")}
    assert before.items() <= after.items() and len(after) > len(before) >= 10
    whole = attack_table(attack(tmp_path / "other", painter())).drop(columns="seconds")
    assert attack_table(resumed).drop(columns="seconds").equals(whole)
    assert not list(kept.glob(".*")), "nothing half-written is left"


def attack_and_tell(folder, model, log):
    """Writes down whatever is kept: attempts and pictures."""

    def told(write, key_of):
        def both(kept, what, *given):
            with open(log, "a") as file:
                file.write(f"{key_of(what)}\n")
            return write(kept, what, *given)

        return both

    Attempts.write = told(Attempts.write, lambda key: key)
    Run.write_image = told(Run.write_image, lambda cell: cell.key)
    attack(folder, model)


def test_two_processes_make_each_attempt_and_each_picture_once(tmp_path):
    model = painter()
    model.__class__ = Slow
    log = tmp_path / "log"
    work = multiprocessing.get_context("fork").Process
    both = [work(target=attack_and_tell, args=(tmp_path / "run", model, log)) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    keys = log.read_text().split()
    assert [one.exitcode for one in both] == [0, 0] and len(keys) == len(set(keys)) > 10
    whole = attack_table(attack(tmp_path / "other", painter())).drop(columns="seconds")
    assert attack_table(attack(tmp_path / "run", painter())).drop(columns="seconds").equals(whole)
    assert not (tmp_path / "run/unfinished").exists()
