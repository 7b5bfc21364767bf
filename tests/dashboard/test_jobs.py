"""Jobs in the background: one after the other, each by its own id, none of which takes the worker down."""

import threading
import time

import pytest

from saes.errors import WorkbenchError
from workbench.dashboard.jobs import KEPT, Jobs


def over(jobs, id, seconds=10.0):
    """The job once it is over."""
    end = time.monotonic() + seconds
    while not (job := jobs.look(id)).is_over:
        assert time.monotonic() < end, job.state
        time.sleep(0.005)
    return job


def test_jobs_run_one_after_the_other_and_keep_their_own_results():
    jobs, running, most = Jobs(), [], []

    def work(number):
        def run(progress):
            running.append(number)
            most.append(len(running))
            for _ in progress(range(3), "steps"):
                time.sleep(0.002)
            running.remove(number)
            return number

        return run

    ids = [jobs.submit(work(number)) for number in range(5)]
    assert [over(jobs, id).result for id in ids] == list(range(5)) and max(most) == 1 and len(set(ids)) == 5


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (WorkbenchError("It is wrong.", "Mend it."), "It is wrong. Mend it."),
        (ZeroDivisionError("by zero"), "ZeroDivisionError: by zero"),
        (MemoryError(), "MemoryError"),
    ],
)
def test_whatever_a_job_raises_becomes_its_message_and_the_next_one_runs(error, said):
    jobs = Jobs()

    def fail(progress):
        raise error

    failed, next_one = jobs.submit(fail), jobs.submit(lambda progress: "fine")
    assert said in over(jobs, failed).message and over(jobs, failed).state == "failed"
    assert over(jobs, next_one).result == "fine"


def test_progress_is_a_share_of_what_is_to_do():
    jobs, go, reached = Jobs(), threading.Event(), threading.Event()

    def work(progress):
        for number in progress(range(4), "pictures"):
            if number == 2:
                reached.set()
                go.wait(10)

    id = jobs.submit(work)
    assert reached.wait(10)
    job = jobs.look(id)
    assert (job.state, job.share, job.message) == ("running", 0.5, "pictures")
    go.set()
    assert over(jobs, id).share == 1.0


def test_a_job_is_stopped_at_its_next_step_and_one_in_the_queue_never_starts():
    jobs, reached, go, done = Jobs(), threading.Event(), threading.Event(), []

    def work(progress):
        for number in progress(range(4), "pictures"):
            done.append(number)
            reached.set()
            go.wait(10)

    running, waiting = jobs.submit(work), jobs.submit(lambda progress: done.append("never"))
    assert reached.wait(10)
    jobs.stop(running)
    jobs.stop(waiting)
    jobs.stop("unknown")
    go.set()
    assert over(jobs, running).state == over(jobs, waiting).state == "stopped" and done == [0]


def test_only_the_last_jobs_are_kept():
    jobs = Jobs()
    ids = [jobs.submit(lambda progress: None) for _ in range(3)]
    for id in ids:
        over(jobs, id)
    later = [jobs.submit(lambda progress: None) for _ in range(KEPT)]
    for id in later:
        over(jobs, id)
    assert jobs.look(ids[0]) is None and jobs.look(later[-1]) is not None and jobs.look(None) is None


def test_work_behind_the_jobs_goes_on_piece_by_piece_and_lets_every_job_in():
    jobs, order, pieces = Jobs(), [], iter(range(6))
    opened, submitted = threading.Event(), []

    def piece():
        number = next(pieces)
        order.append(number)
        if number == 2:
            submitted.append(jobs.submit(lambda progress: order.append("job")))
        if number == 5:
            opened.set()
        return number < 5

    jobs.behind(piece)
    assert opened.wait(10)
    over(jobs, submitted[0])
    assert order == [0, 1, 2, "job", 3, 4, 5]
    again = threading.Event()
    jobs.behind(lambda: bool(again.set()))
    assert again.wait(10)
