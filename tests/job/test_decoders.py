"""Who decodes the z0_hats of a run: the VAE, a small decoder, or nobody."""

import json

import imageio.v3 as iio
import pytest
import torch

from sdloop.job.config import RunConfig
from sdloop.job.config_file import load_config
from sdloop.job.decoders import Decoders
from sdloop.job.events import FramesDecoded, StageBegan, Stages
from sdloop.job.forecast import estimate
from sdloop.job.plan import prepare, settle
from sdloop.job.present import show
from sdloop.job.runner import Runner
from sdloop.job.sample import denoise
from sdloop.machine.errors import UserError
from sdloop.model.text import encode_prompts
from sdloop.model.tiny import hash_tiny, load_tiny
from sdloop.model.tiny_source import find_tiny
from sdloop.model.vae import decode_latents
from sdloop.render import main as render
from sdloop.run import main as run
from sdloop.sampler.loop import initial_noise
from tests.conftest import make_tiny

CPU = torch.device("cpu")


@pytest.fixture
def decoder(tmp_path):
    make_tiny(tmp_path / "decoder")
    return tmp_path / "decoder"


@pytest.fixture
def small(decoder):
    """Return what asks for the small decoder on the command line."""
    return ["decode.z0_hat=tiny", f"decode.tiny={decoder}"]


def contents_of(folder):
    """Return what each file shows: a picture's pixels, without the settings that it carries."""
    return {
        path.name: iio.imread(path).tobytes()
        if path.suffix in (".png", ".gif")
        else path.read_bytes()
        for path in folder.iterdir()
    }


def test_small_decoder_changes_no_frame_map_or_measure(tiny_config, tmp_path, small):
    assert run([str(tiny_config), f"output={tmp_path / 'full'}"]) == 0
    assert run([str(tiny_config), f"output={tmp_path / 'small'}", *small]) == 0
    full, ours = contents_of(tmp_path / "full"), contents_of(tmp_path / "small")
    assert full.keys() == ours.keys()
    differing = {name for name in full if full[name] != ours[name]}
    own = {"config.yaml", "trajectory.safetensors"}  # these hold the config
    assert differing == own | {"manifest.json", "index.html"}


def test_small_decoder_draws_the_predictions(tiny_config, small, models):
    done = Runner().run(prepare(load_config(tiny_config, small)))
    plan = settle(prepare(load_config(tiny_config, small)))
    events = []
    decoders = Decoders.of_plan(plan, models.vae)
    shown = show(plan, done.trajectory, decoders, Stages(events.append))
    tiny = load_tiny(plan.tiny, CPU, torch.float32)
    expected = decode_latents(tiny, done.trajectory.z0_hat).numpy()
    assert (shown.z0_hat == expected).all()
    frames = decode_latents(models.vae, done.trajectory.latents).numpy()
    assert (shown.images == frames).all()
    (began,) = (e for e in events if isinstance(e, StageBegan) and e.name == "decode")
    assert began.total == sum(e.count for e in events if isinstance(e, FramesDecoded)) == 13


def test_manifest_and_page_name_the_small_decoder(tiny_config, tmp_path, small, decoder, models):
    assert run([str(tiny_config), *small]) == 0
    facts = json.loads((tmp_path / "run/manifest.json").read_text())["z0_hat"]
    sha256 = hash_tiny(find_tiny(models.source, decoder))
    assert facts == {"decoded_by": str(decoder), "weights_sha256": sha256}
    assert '"small_decoder":true' in (tmp_path / "run/index.html").read_text()
    for said, by in (("full", "vae"), ("off", None)):
        assert render([str(tmp_path / "run"), f"decode.z0_hat={said}"]) == 0
        facts = json.loads((tmp_path / "run/manifest.json").read_text())["z0_hat"]
        assert facts == {"decoded_by": by}
        assert '"small_decoder":false' in (tmp_path / "run/index.html").read_text()


def test_render_draws_what_a_run_draws(tiny_config, tmp_path, small):
    assert run([str(tiny_config), *small]) == 0
    page = (tmp_path / "run/index.html").read_bytes()
    assert render([str(tmp_path / "run"), "decode.z0_hat=off"]) == 0
    assert (tmp_path / "run/index.html").read_bytes() != page
    assert render([str(tmp_path / "run"), *small]) == 0
    assert (tmp_path / "run/index.html").read_bytes() == page


def test_finished_run_of_an_older_config_is_finished(tiny_config, tmp_path, capsys):
    assert run([str(tiny_config)]) == 0
    path = tmp_path / "run/config.yaml"
    older = path.read_text().replace("z0_hat: full\n  tiny: null\n", "z0_hat: true\n")
    assert older != path.read_text()
    path.write_text(older)
    assert run([str(tiny_config)]) == 0
    assert "is finished" in capsys.readouterr().err


def test_damaged_small_decoder_stops_a_run_before_its_first_row(
    tiny_config, tmp_path, small, decoder, capsys
):
    path = decoder / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    assert run([str(tiny_config), *small]) == 2
    assert "error: decode.tiny = " in capsys.readouterr().err
    assert not list((tmp_path / "run").glob("*"))


def test_own_small_decoder_is_found_beside_the_model_and_knows_no_other_vae(bundled):
    own = find_tiny(bundled.source)
    assert own.folder.name == "tiny_vae"
    assert own.is_bundled
    vae = str(bundled.source.folder / "vae")
    config = RunConfig(prompt="a cat", vae=vae, decode={"z0_hat": "tiny"})
    with pytest.raises(UserError, match="knows its own VAE alone"):
        prepare(config)


def test_small_decoder_that_nobody_asks_for_is_not_looked_for(tiny_config):
    prepared = prepare(load_config(tiny_config, ["decode.tiny=/nowhere"]))
    assert prepared.tiny is None


def test_forecast_counts_fewer_pictures_without_predictions(tiny_config, small):
    def bytes_of(*overrides):
        (ledger,) = estimate(settle(prepare(load_config(tiny_config, overrides))))
        return ledger

    full, tiny, off = bytes_of(), bytes_of(*small), bytes_of("decode.z0_hat=off")
    pictures = 6 * 64 * 64 * 3
    assert full.stages["decode"] - off.stages["decode"] == pictures
    assert tiny.stages["decode"] - off.stages["decode"] >= pictures
    assert tiny.always["weights"] > full.always["weights"] == off.always["weights"]


def test_bundled_small_decoder_is_near_the_vae_on_a_run_of_its_own(bundled):
    config = RunConfig(prompt="a red car on a table", scheduler={"num_steps": 8, "type": "ddim"})
    table, z = prepare(config).table, initial_noise([0], 4, 16, 16)
    prompts = ([config.prompt], [""])
    embeddings = encode_prompts(bundled.tokenizer, bundled.text_encoder, *prompts)
    z0_hat = denoise(bundled.unet, table, z, embeddings, guidance_scale=3.5).z0_hat[:, 0]
    tiny = load_tiny(find_tiny(bundled.source), CPU, torch.float32)
    ours, theirs = (decode_latents(one, z0_hat).float() for one in (tiny, bundled.vae))
    psnr_db = 10 * torch.log10(255**2 / (ours - theirs).square().mean(dim=(1, 2, 3)))
    assert psnr_db.mean() > 27  # `python -m scripts.train.tiny` measures many runs
