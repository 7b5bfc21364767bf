"""Sessions on a pipeline of two small layers, where every number can be followed by hand."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from saes.errors import WorkbenchError
from workbench.hooks import Component, Session, Site, SiteEdit, Wiring


class Block(nn.Module):
    """Hands over `(text, picture)`, as the blocks of SD3 and Flux do."""

    def forward(self, hidden_states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return hidden_states[:, :1], hidden_states * 2


class Denoiser(nn.Module):
    def __init__(self, checkpointing: bool = False) -> None:
        super().__init__()
        self.first, self.second = Block(), Block()
        self.unused = nn.Identity()
        self.checkpointing = checkpointing

    def forward(self, sample: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        for block in (self.first, self.second):
            _, sample = checkpoint(block, sample, use_reentrant=False) if self.checkpointing else block(sample)
        return sample


class Pipeline:
    """A model as sessions see it; `call` announces all rows as conditional unless told otherwise."""

    def __init__(self, **settings: bool) -> None:
        self.denoiser = Denoiser(**settings)
        self.wiring = Wiring(self.find, (Component("denoiser", "image", timestep_unit=10.0),))

    def find(self, path: str) -> nn.Module:
        if path == "denoiser.nothing":
            raise WorkbenchError("There is no such module.", "Look again.")
        return SimpleNamespace(denoiser=self.denoiser).denoiser.get_submodule(path.partition(".")[2])

    def call(self, sample: torch.Tensor, timestep: float = 1.0, roles: tuple = ()) -> torch.Tensor:
        with self.wiring.calls.announced("image", roles or ("cond",) * len(sample)):
            return self.denoiser(sample, torch.tensor(timestep))


FIRST = Site("first", "denoiser.first", index=1)
FIRST_TEXT = Site("first.text", "denoiser.first", index=0)
SECOND = Site("second", "denoiser.second", index=1)
SECOND_INPUT = Site("second.in", "denoiser.second", slot="input", index=0)
ONES = torch.ones(2, 3, 4)


def n_hooks(pipeline: Pipeline) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in pipeline.denoiser.modules())


def add(amount: float):
    return lambda activation, clock: activation + amount


def test_a_recorder_reads_without_copying_and_without_graph():
    pipeline = Pipeline()
    handed_over = []
    pipeline.denoiser.first.register_forward_hook(lambda module, args, output: handed_over.append(output[1]))
    with Session(pipeline, record=[FIRST]) as session:
        pipeline.call(ONES.clone().requires_grad_())
    (clock, recorded), *rest = session.records["first"]
    assert not rest and torch.equal(recorded, ONES * 2)
    assert recorded.data_ptr() == handed_over[0].data_ptr() and not recorded.requires_grad
    assert (clock.call, clock.timestep, clock.roles) == (0, 10.0, ("cond", "cond"))


def test_an_edit_changes_what_follows_and_only_its_stream():
    pipeline = Pipeline()
    with Session(pipeline, record=[FIRST_TEXT], edits=[SiteEdit(FIRST, add(3))]) as session:
        assert torch.equal(pipeline.call(ONES), (ONES * 2 + 3) * 2)
    assert torch.equal(session.records["first.text"][0][1], ONES[:, :1])
    assert torch.equal(pipeline.call(ONES), ONES * 4)


def test_an_input_can_be_edited():
    pipeline = Pipeline()
    with Session(pipeline, record=[SECOND_INPUT], edits=[SiteEdit(SECOND_INPUT, add(5))]) as session:
        assert torch.equal(pipeline.call(ONES), (ONES * 2 + 5) * 2)
    assert torch.equal(session.records["second.in"][0][1], ONES * 2 + 5)


def test_edits_compose_in_the_order_given_outer_sessions_first():
    pipeline = Pipeline()

    def times(amount: float):
        return lambda activation, clock: activation * amount

    outer, inner = [SiteEdit(SECOND, add(1)), SiteEdit(SECOND, times(3))], [SiteEdit(SECOND, add(7))]
    with Session(pipeline, record=[SECOND], edits=outer) as first, Session(pipeline, edits=inner):
        assert torch.equal(pipeline.call(ONES), (ONES * 4 + 1) * 3 + 7)
    assert torch.equal(first.records["second"][0][1], (ONES * 4 + 1) * 3 + 7), "recorders see the result of all edits"


def test_only_the_rows_of_a_role_are_edited():
    pipeline = Pipeline()

    def on_cond(activation, clock):
        return torch.where(clock.mask("cond")[:, None, None], activation + 1, activation)

    with Session(pipeline, edits=[SiteEdit(SECOND, on_cond)]):
        edited = pipeline.call(ONES, roles=("uncond", "cond"))
    assert torch.equal(edited - ONES * 4, torch.tensor([0.0, 1.0])[:, None, None].expand_as(ONES))


def test_keep_thins_the_record_and_frees_the_rest():
    pipeline = Pipeline()

    def keep(site, activation, clock):
        return activation[1:, :1] if clock.timestep > 10 else None

    with Session(pipeline, record=[FIRST], keep=keep) as session:
        pipeline.call(ONES, timestep=1.0)
        pipeline.call(ONES, timestep=2.0)
    (clock, kept), *rest = session.records["first"]
    assert not rest and clock.timestep == 20.0 and session.hits == {"first": 2}
    assert kept.shape == (1, 1, 4) and kept.untyped_storage().nbytes() == 4 * 4


def test_calls_are_numbered_within_an_announcement():
    pipeline = Pipeline()
    with Session(pipeline, record=[FIRST]) as session:
        for _ in range(2):
            with pipeline.wiring.calls.announced("image", ("cond", "cond")):
                for timestep in (3.0, 2.0, 2.0):
                    pipeline.denoiser(ONES, torch.tensor(timestep))
    clocks = [clock for clock, _ in session.records["first"]]
    assert [(clock.call, clock.timestep) for clock in clocks] == [(0, 30.0), (1, 20.0), (2, 20.0)] * 2


def test_gradients_flow_through_an_edit_to_what_it_was_made_from():
    pipeline, strength = Pipeline(), torch.tensor(0.5, requires_grad=True)
    with Session(pipeline, edits=[SiteEdit(FIRST, lambda activation, clock: activation * strength)]):
        pipeline.call(ONES).sum().backward()
    assert strength.grad == ONES.numel() * 4


def test_gradient_checkpointing_applies_an_edit_twice_and_counts_it_once():
    """The block runs again in the backward pass: with the edit of *its* call, and without a second record."""
    strength = torch.tensor(0.5, requires_grad=True)

    def by_timestep(activation, clock):
        return (activation * strength + clock.timestep).pow(2)  # its gradient needs the recomputed sum

    gradients = {}
    for checkpointing in (False, True):
        pipeline, strength.grad = Pipeline(checkpointing=checkpointing), None
        with Session(pipeline, record=[FIRST], edits=[SiteEdit(FIRST, by_timestep)]) as session:
            outputs = [pipeline.call(ONES.clone().requires_grad_(), timestep=t) for t in (1.0, 2.0)]
            fired = pipeline.denoiser.first.forward, session.hits["first"]
            sum(output.pow(2).sum() for output in outputs).backward()
        assert session.hits["first"] == fired[1] == 2 and len(session.records["first"]) == 2
        gradients[checkpointing] = strength.grad.clone()
    assert gradients[True] == gradients[False] != 0


def test_hooks_are_gone_after_a_normal_run():
    pipeline = Pipeline()
    with Session(pipeline, record=[FIRST], edits=[SiteEdit(SECOND, add(1)), SiteEdit(SECOND_INPUT, add(1))]):
        pipeline.call(ONES)
        assert n_hooks(pipeline) == 5  # two of the component, three sites
    assert n_hooks(pipeline) == 0


def test_hooks_are_gone_when_the_body_raises():
    pipeline = Pipeline()
    with pytest.raises(KeyError), Session(pipeline, record=[FIRST], edits=[SiteEdit(SECOND, add(1))]):
        raise KeyError
    assert n_hooks(pipeline) == 0


def test_hooks_are_gone_when_a_layer_raises_and_the_next_call_starts_afresh():
    pipeline = Pipeline()

    def fails(activation, clock):
        raise RuntimeError("in the layer")

    with pytest.raises(RuntimeError, match="in the layer"), Session(pipeline, edits=[SiteEdit(FIRST, fails)]):
        pipeline.call(ONES)
    assert n_hooks(pipeline) == 0 and pipeline.wiring.calls.now("denoiser") is None
    assert torch.equal(pipeline.call(ONES), ONES * 4)


def test_hooks_are_gone_after_a_bad_argument():
    pipeline = Pipeline()
    nowhere = Site("nowhere", "denoiser.nothing")
    with pytest.raises(WorkbenchError, match="no such module"), Session(pipeline, record=[FIRST, nowhere]):
        pass
    assert n_hooks(pipeline) == 0


def test_a_hook_that_never_fires_is_an_error_that_names_the_site():
    pipeline = Pipeline()
    unused = Site("unused", "denoiser.unused")
    with pytest.raises(WorkbenchError, match=r"recorder at site 'unused'.*never fired"), Session(pipeline, [unused]):
        pipeline.call(ONES)
    with Session(pipeline, record=[unused]):
        pass  # the denoiser did not run, so nothing can be said


def test_an_error_of_the_body_is_not_hidden_by_a_hook_that_never_fired():
    pipeline = Pipeline()
    with pytest.raises(KeyError), Session(pipeline, record=[Site("unused", "denoiser.unused")]):
        pipeline.call(ONES)
        raise KeyError


def test_hooks_that_a_compiled_model_silences_are_an_error():
    pipeline = Pipeline()
    pipeline.denoiser.compile(backend="eager")
    pipeline.call(ONES)  # compiled without the hooks of the session below
    with pytest.raises(WorkbenchError, match=r"edit at site 'first'.*never fired"):
        with Session(pipeline, edits=[SiteEdit(FIRST, add(1))]):
            pipeline.call(ONES)


def test_a_transform_that_changes_the_shape_is_named():
    pipeline = Pipeline()
    with pytest.raises(WorkbenchError, match=r"site 'first' returned the shape \(2, 1, 4\)"):
        with Session(pipeline, edits=[SiteEdit(FIRST, lambda activation, clock: activation[:, :1])]):
            pipeline.call(ONES)


def test_a_call_that_nobody_announced_is_an_error_where_a_hook_needs_its_rows():
    pipeline = Pipeline()
    with pytest.raises(WorkbenchError, match="called directly"), Session(pipeline, record=[FIRST]):
        pipeline.denoiser(ONES, torch.tensor(1.0))
    with pytest.raises(WorkbenchError, match=r"2 rows, and 1 were announced"), Session(pipeline, record=[FIRST]):
        pipeline.call(ONES, roles=("cond",))
