import torch

from workbench.models.diffusion.nnsight_view import nnsight_view


def test_nnsight_sees_what_a_session_records_and_leaves_nothing_behind(tiny_sd1):
    model, encoding = tiny_sd1, tiny_sd1.encode("a fox")
    latents = model.noise([0])
    with model.session(record=["unet.mid"]) as session:
        model.noise_prediction(latents, 500, encoding)
    embeddings = encoding.embeddings.clone().requires_grad_()
    with nnsight_view(model, "unet") as view:
        with view.trace(latents, 500, encoder_hidden_states=embeddings, return_dict=False):
            middle = view.mid_block.output.save()
            view.output[0].sum().backward()
    recorded = session.records["unet.mid"][0][1]
    assert torch.equal(model.site("unet.mid").read(middle.detach()), recorded)
    assert embeddings.grad is not None and embeddings.grad.abs().sum() > 0
    assert all(not module._forward_hooks for module in model.pipe.unet.modules())


def test_the_whole_pipeline_can_be_traced(tiny_sd1):
    with nnsight_view(tiny_sd1) as view:
        with view.trace("a fox", num_inference_steps=1, output_type="np"):
            text = view.text_encoder.encoder.layers[1].output.save()
            middle = view.unet.mid_block.output.save()
    assert text.shape == (1, 12, 16) and middle.shape == (2, 16, 8, 8)
