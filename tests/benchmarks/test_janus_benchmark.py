"""The benchmarks of a Janus: both ways agree (it asserts that itself), and each figure stands beside its bound."""

from benchmarks import janus_shapes
from benchmarks.janus import main


def test_each_figure_stands_beside_its_bound(tiny_janus, capsys):
    main([tiny_janus.name, "--pictures", "2", "--rounds", "1"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "cache", "together", "one site read", "SAE deactivation", "EAR's windows",
    ]  # fmt: skip
    assert all(float(line.partition(": ")[2].partition("×")[0]) > 0 and "bound" in line for line in lines)


def test_the_shapes_of_a_published_model_are_timed_with_the_memory_they_take(capsys):
    """As the published one, but narrow and of two layers, with few codes."""
    width = {"projection_dim": 64}
    janus_shapes.main(
        ["--cells", "4", "--layers", "2"],
        text_config={"hidden_size": 64, "intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 4},
        vision_config={"hidden_size": 64, "num_attention_heads": 4, **width},
        vq_config={
            "num_embeddings": 64, "latent_channels": 32, "base_channels": 32, "num_res_blocks": 1,
            "image_token_embed_dim": 64, **width,
        },
    )  # fmt: skip
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0].split(",")[0] for line in lines] == [
        "weights", "a picture of 4 tokens", "harvest of a picture at lm.1", "EAR",
    ]  # fmt: skip
    assert all("GiB at most so far" in line for line in lines)
