"""Models from the hub: asked of a small one on this machine, fetched, kept, and done without."""

import errno
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from huggingface_hub import close_session, snapshot_download
from safetensors.torch import load_file, save_file

from sdloop import run as run_module
from sdloop.job.progress import Progress
from sdloop.machine.errors import UserError
from sdloop.model.fetch import fetch_weights
from sdloop.model.find import find
from sdloop.model.networks import load
from sdloop.model.tiny import hash_tiny, load_tiny
from sdloop.model.tiny_source import find_tiny
from sdloop.model.weight_files import hash_weights
from tests.conftest import make_tiny
from tests.hub_server import serving

CPU = torch.device("cpu")
TINY = "someone/tiny"
UNET = "unet/diffusion_pytorch_model.safetensors"
VAE = "vae/diffusion_pytorch_model.safetensors"
TEXT = "text_encoder/model.safetensors"


@pytest.fixture
def hub(tmp_path, monkeypatch, model_folder):
    """Return a running hub that serves the random model; the cache is empty."""
    with serving() as server:
        turn_to(server.url, monkeypatch)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
        server.repositories[TINY] = model_folder
        close_session()  # a client of an earlier test's hub
        yield server
        close_session()


def turn_to(url, monkeypatch):
    """Let the hub's client ask this address; what HF_ENDPOINT does when it is imported."""
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr("huggingface_hub.hf_api.api.endpoint", url)


@pytest.fixture
def offline(monkeypatch):
    """Return a function that does what HF_HUB_OFFLINE=1 does."""
    return lambda: monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.fixture
def no_waiting(monkeypatch):
    """Let the hub's client try again at once."""
    clock = SimpleNamespace(**{**vars(time), "sleep": lambda seconds: None})
    monkeypatch.setattr("huggingface_hub.file_download.time", clock)
    monkeypatch.setattr("huggingface_hub.utils._http.time", clock)


@pytest.fixture
def copied(model_folder, tmp_path, hub):
    """Return a copy of the model that the hub serves and a test may change."""
    hub.repositories[TINY] = shutil.copytree(model_folder, tmp_path / "served")
    return hub.repositories[TINY]


def refusal(action):
    with pytest.raises(UserError) as error:
        action()
    assert str(error.value).isprintable()
    return str(error.value)


def assert_equal(ours, theirs):
    """Hold two networks' weights against each other."""
    state = theirs.state_dict()
    assert set(ours.state_dict()) == set(state)
    for name, weight in ours.state_dict().items():
        assert torch.equal(weight, state[name]), name


def assert_as_diffusers(loaded, tmp_path, **options):
    """Hold a model's networks against what diffusers' pipeline gets from the same hub."""
    pipeline = StableDiffusionPipeline.from_pretrained(
        TINY, cache_dir=tmp_path / "theirs", safety_checker=None, **options
    )
    for part in ("text_encoder", "unet", "vae"):
        assert_equal(getattr(loaded, part), getattr(pipeline, part))


# ---- what is fetched ---------------------------------------------------------------------------


def test_whole_repository_loads_as_in_diffusers(hub, copied, tmp_path):
    for extra in ("README.md", "v1-5.ckpt", "unet/diffusion_pytorch_model.bin", "unet/notes.json"):
        (copied / extra).write_text("not needed")
    (copied / "safety_checker").mkdir()
    shutil.copy(copied / UNET, copied / "safety_checker/model.safetensors")
    source = find(TINY)
    assert not [path for path in hub.fetched() if path.endswith(".safetensors")]
    loaded = load(source, CPU, torch.float32)
    asked = hub.fetched()
    assert {UNET, VAE, TEXT, "model_index.json", "tokenizer/vocab.json"} <= set(asked)
    assert not {path for path in asked if path.endswith((".md", ".ckpt", ".bin", "notes.json"))}
    assert "safety_checker/model.safetensors" not in asked
    assert_as_diffusers(loaded, tmp_path)


def test_one_commit_serves_a_whole_run(hub, copied):
    source = find(TINY)
    commit = hub.commit(TINY)
    assert source.folder.name == commit
    hub.asked.clear()
    fetch_weights(source, half=False)
    assert {path.split("/")[4] for _, path in hub.asked} == {commit}
    hub.asked.clear()
    fetch_weights(source, half=False)
    assert hub.asked == []
    (copied / "README.md").write_text("a new commit")
    assert find(TINY).folder.name != commit


def test_half_precision_files_alone_load(hub, copied, tmp_path):
    for path in (UNET, VAE, TEXT):
        half = {name: weight.half() for name, weight in load_file(copied / path).items()}
        (copied / path).unlink()
        save_file(half, copied / path.replace(".safetensors", ".fp16.safetensors"))
    loaded = load(find(TINY), CPU, torch.float32)
    assert_as_diffusers(loaded, tmp_path, variant="fp16", torch_dtype=torch.float32)


@pytest.mark.parametrize("legacy", [False, True])
def test_half_precision_shards_load_by_their_index(hub, copied, tmp_path, models, legacy):
    # beside a whole file in float32 that must not be fetched, as SDXL's repositories have them
    half = UNet2DConditionModel.from_pretrained(copied / "unet", torch_dtype=torch.float16)
    half.save_pretrained(copied / "unet", variant="fp16", max_shard_size="100KB")
    index = copied / "unet/diffusion_pytorch_model.safetensors.index.fp16.json"
    if legacy:
        index.rename(index.with_name("diffusion_pytorch_model.safetensors.fp16.index.json"))
    shards = {path.name for path in index.parent.glob("*.fp16-*-of-*.safetensors")}
    assert len(shards) > 1
    loaded = load(find(TINY), CPU, torch.float16)
    fetched = {path.partition("/")[2] for path in hub.fetched() if path.startswith("unet/")}
    assert {name for name in fetched if name.endswith(".safetensors")} == shards
    if not legacy:  # the pipeline refuses what it does not find for every part
        theirs = UNet2DConditionModel.from_pretrained(
            TINY, subfolder="unet", variant="fp16", torch_dtype=torch.float16,
            cache_dir=tmp_path / "theirs",
        )  # fmt: skip
        assert_equal(loaded.unet, theirs)
    assert_equal(loaded.unet, half)


def test_download_is_watched_to_the_last_byte(hub, copied):
    watched = []

    @contextmanager
    def watch(total):
        watched.append(total)
        yield lambda count: watched.append(-count)

    source = find(TINY)
    fetch_weights(source, half=False, watch=watch)
    assert watched[0] == sum((copied / path).stat().st_size for path in (UNET, VAE, TEXT))
    assert sum(watched) == 0
    fetch_weights(source, half=False, watch=watch)
    assert sum(watched) == 0  # nothing was to come, and nobody was told


@pytest.mark.parametrize(
    ("address", "revision"),
    [
        ("https://huggingface.co/someone/tiny", "main"),
        ("https://huggingface.co/someone/tiny/", "main"),
        ("https://huggingface.co/someone/tiny.git", "main"),
        ("https://huggingface.co/someone/tiny/tree/main", "main"),
        ("https://huggingface.co/someone/tiny/tree/fp16", "fp16"),
        ("https://huggingface.co/someone/tiny/blob/main/README.md", "main"),
        ("https://huggingface.co/someone/tiny?library=diffusers", "main"),
        ("huggingface.co/someone/tiny", "main"),
        ("https://hf.co/someone/tiny", "main"),
        ("hf://someone/tiny@v2", "v2"),
    ],
)
def test_pasted_addresses_work(hub, address, revision, model_folder):
    source = find(address)
    assert source.name == TINY
    assert ("GET", f"/api/models/someone/tiny/revision/{revision}") in hub.asked
    assert source.unet == find(str(model_folder)).unet


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("https://huggingface.co/datasets/someone/tiny", "is a dataset of the hub, not a model"),
        ("https://huggingface.co/someone", "User/organization pages"),
        ("https://civitai.com/models/4384", "Unrecognized host 'civitai.com'"),
        (
            "https://huggingface.co/someone/tiny/blob/main/v1-5.safetensors",
            "(hf download someone/tiny v1-5.safetensors) and set model=<its path>",
        ),
    ],
)
def test_addresses_of_other_things_are_refused(hub, address, said):
    assert said in refusal(lambda: find(address))
    assert hub.asked == []


# ---- what is not there -------------------------------------------------------------------------


def test_repository_that_is_not_there_is_told(hub):
    message = refusal(lambda: find("someone/else"))
    assert "no such folder here, and the hub has no such repository, or it is private" in message


@pytest.mark.parametrize("where", ["refusals", "listings_refused"])
@pytest.mark.parametrize("status", [401, 403])
def test_gated_repository_says_where_to_ask(hub, where, status):
    getattr(hub, where)[TINY] = (status, "GatedRepo")
    message = refusal(lambda: find(TINY))
    assert f"accept the terms at {hub.url}/{TINY}, then log in (hf auth login)" in message
    assert "no such folder" not in message


def test_hub_that_fails_is_told_and_the_cache_serves(hub, no_waiting):
    hub.listings_refused[TINY] = (503, "")
    assert "503" in refusal(lambda: find(TINY))
    del hub.listings_refused[TINY]
    source = find(TINY)
    hub.listings_refused[TINY] = (503, "")
    assert find(TINY) == source


def test_repository_without_usable_weights_is_refused_before_it_is_fetched(hub, copied):
    (copied / VAE).rename(copied / "vae/diffusion_pytorch_model.bin")
    message = refusal(lambda: find(TINY))
    assert "has no vae/diffusion_pytorch_model.safetensors; other weight formats" in message
    assert "(vae/diffusion_pytorch_model.bin) can carry code and are not loaded" in message
    assert hub.fetched() == ["model_index.json"]


def test_shard_that_an_index_names_in_vain_is_told(hub, copied, models):
    models.unet.save_pretrained(copied / "unet", max_shard_size="100KB")
    shard = sorted((copied / "unet").glob("diffusion_pytorch_model-*.safetensors"))[1]
    shard.unlink()
    message = refusal(lambda: load(find(TINY), CPU, torch.float32))
    assert f"unet/{shard.name} is not in the repository" in message
    assert not [path for path in hub.fetched() if path.endswith(".safetensors")]


def test_repository_of_single_files_says_to_download_one(hub, copied):
    for path in copied.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (copied / "v1-5.safetensors").write_bytes(b"4 GB")
    message = refusal(lambda: find(TINY))
    assert "holds single files, not diffusers' layout; download one" in message
    assert "(hf download someone/tiny v1-5.safetensors) and set model=<its path>" in message
    assert hub.fetched() == []


def test_small_files_of_absurd_size_are_not_fetched(hub, copied):
    (copied / "tokenizer/vocab.json").write_bytes(b" " * 16_000_001)
    assert "tokenizer/vocab.json is larger than 16000000 bytes" in refusal(lambda: find(TINY))
    assert "tokenizer/vocab.json" not in hub.fetched()


# ---- downloads that break off ------------------------------------------------------------------


@pytest.mark.parametrize("path", [UNET, "unet/config.json"])
def test_dropped_line_is_taken_up_again(hub, models, no_waiting, path):
    hub.cut[path] = 2
    assert_equal(load(find(TINY), CPU, torch.float32).unet, models.unet)
    assert hub.cut[path] == 0


@pytest.mark.parametrize("path", [UNET, "unet/config.json"])
def test_interrupted_download_is_told_as_that(hub, models, no_waiting, path, monkeypatch):
    monkeypatch.setattr("sdloop.model.hub.AT_ONCE", 1)
    hub.cut_at_start.add(path)
    message = refusal(lambda: load(find(TINY), CPU, torch.float32))
    assert f"the download of {path} was interrupted (" in message
    assert "run the same command again to fetch the rest" in message
    assert "no such folder" not in message
    fetched = set(hub.fetched())
    hub.cut_at_start.clear()
    hub.asked.clear()
    assert_equal(load(find(TINY), CPU, torch.float32).unet, models.unet)
    assert not (set(hub.fetched()) & fetched) - {path}


def test_interrupt_does_not_wait_for_the_file_under_download(hub):
    source = find(TINY)
    hub.held[UNET] = threading.Event()
    main = threading.main_thread().ident

    def press():
        while UNET not in hub.fetched():
            time.sleep(0.01)
        signal.pthread_kill(main, signal.SIGINT)

    threading.Thread(target=press).start()
    before = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        fetch_weights(source, half=False)
    assert time.monotonic() - before < 30  # the hub holds it back for 60
    assert not hub.held[UNET].is_set()


# ---- the disk ----------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    """Put the hub's cache on a disk with room for the small files alone."""
    place = tmp_path / "cache"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", place]
    made = subprocess.run(command, capture_output=True, text=True)
    if made.returncode != 0:
        pytest.skip(f"a disk of its own cannot be mounted here: {made.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


@pytest.mark.parametrize("noticed", ["before", "while it fills"])
def test_full_disk_names_the_cache(hub, small_disk, noticed, monkeypatch):
    source = find(TINY)
    if noticed != "before":
        plenty = SimpleNamespace(free=10**12)
        monkeypatch.setattr("sdloop.model.hub.shutil.disk_usage", lambda path: plenty)
    with pytest.raises(OSError, match=str(small_disk)) as error:
        fetch_weights(source, half=False)
    assert error.value.errno == errno.ENOSPC
    assert error.value.filename.startswith(str(small_disk))


# ---- damage in the cache -----------------------------------------------------------------------


def damage(source, path, how):
    """Cut a cached file short, or flip a bit of it; return the blob that a user would remove."""
    blob = (source.folder / path).resolve()
    content = bytearray(blob.read_bytes())
    if how == "cut":
        content = content[: len(content) // 2]
    else:
        content[0 if how == "header" else -1] ^= 1
    blob.write_bytes(content)
    return blob


@pytest.mark.parametrize(
    ("path", "how"),
    [(UNET, "cut"), (UNET, "header"), ("unet/config.json", "cut"), ("tokenizer/vocab.json", "bit")],
)
def test_damaged_file_in_the_cache_is_fetched_anew(hub, models, offline, path, how):
    source = find(TINY)
    load(source, CPU, torch.float32)
    blob = damage(source, path, how)
    hub.asked.clear()
    assert_equal(load(find(TINY), CPU, torch.float32).unet, models.unet)
    assert hub.fetched() == [path]
    damage(source, path, how)
    offline()
    message = refusal(lambda: load(find(TINY), CPU, torch.float32))
    assert f"{path} is damaged in the hub's cache; remove {blob}, and it is fetched anew" in message
    blob.unlink()
    assert "HF_HUB_OFFLINE is set" in refusal(lambda: load(find(TINY), CPU, torch.float32))


def test_flipped_bit_in_the_cache_is_found_by_its_hash_and_named(hub, models):
    source = find(TINY)
    load(source, CPU, torch.float32)
    blob = damage(source, UNET, "bit")
    message = refusal(lambda: hash_weights(source, half=False))
    assert f"{UNET} is damaged" in message
    assert f"remove {blob}, and it is fetched anew" in message
    blob.unlink()
    assert_equal(load(find(TINY), CPU, torch.float32).unet, models.unet)


def test_run_of_damaged_weights_ends_before_its_last_row(hub, tiny_config, monkeypatch, capsys):
    rows = []
    keep = Progress.keep

    def counted(progress, steps):
        for step in keep(progress, steps):
            rows.append(step.row)
            yield step

    monkeypatch.setattr(Progress, "keep", counted)
    source = find(TINY)
    fetch_weights(source, half=False)
    blob = damage(source, UNET, "bit")
    arguments = [str(tiny_config), f"model={TINY}", "scheduler.num_steps=200", "export.stages=null"]
    assert run_module.main(arguments) == 2
    assert "is damaged: its sha256 is" in capsys.readouterr().err
    assert len(rows) < 200
    assert blob.is_file()


# ---- without the hub ---------------------------------------------------------------------------


def test_cached_model_needs_no_hub(hub, models, offline):
    load(find(TINY), CPU, torch.float32)
    hub.asked.clear()
    offline()
    assert_equal(load(find(TINY), CPU, torch.float32).unet, models.unet)
    assert hub.asked == []


def test_what_the_cache_lacks_is_told_offline(hub, offline, tmp_path):
    offline()
    message = refusal(lambda: find(TINY))
    assert "no such folder here, and not in the hub's cache" in message
    assert f"({tmp_path / 'cache'}), and HF_HUB_OFFLINE is set" in message


def test_weights_that_the_cache_lacks_are_named_offline(hub, offline, tmp_path, no_waiting):
    source = find(TINY)
    offline()
    message = refusal(lambda: load(find(TINY), CPU, torch.float32))
    assert any(f"{path}: not in the hub's cache" in message for path in (UNET, VAE, TEXT))
    assert source == find(TINY)


def test_cache_of_an_older_client_says_what_it_lacks_offline(hub, offline, tmp_path):
    source = find(TINY)
    fetch_weights(source, half=False, components=["unet", "text_encoder"])
    shutil.move(tmp_path / "cache", tmp_path / "older")  # this process remembers the listing
    shutil.rmtree(tmp_path / "older/models--someone--tiny/trees")
    offline()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "older"))
        message = refusal(lambda: find(TINY))
    assert "the weights of its vae are not in the hub's cache, and the hub cannot" in message


def test_half_precision_files_in_the_cache_serve_float32_offline(hub, copied, offline):
    for path in (UNET, VAE, TEXT):
        half = {name: weight.half() for name, weight in load_file(copied / path).items()}
        save_file(half, copied / path.replace(".safetensors", ".fp16.safetensors"))
    fetch_weights(find(TINY), half=True)
    assert UNET not in hub.fetched()
    offline()
    loaded = load(find(TINY), CPU, torch.float32)
    theirs = load_file(copied / UNET)["conv_in.weight"].half().float()
    assert torch.equal(loaded.unet.conv_in.weight, theirs)


def test_hub_out_of_reach_is_told(hub, monkeypatch, no_waiting):
    with socket.socket() as nobody:  # bound, but not listening
        nobody.bind(("127.0.0.1", 0))
        turn_to(f"http://127.0.0.1:{nobody.getsockname()[1]}", monkeypatch)
        assert "no such folder here, and the hub cannot be reached" in refusal(lambda: find(TINY))
        turn_to(hub.url, monkeypatch)
        source = find(TINY)
        turn_to(f"http://127.0.0.1:{nobody.getsockname()[1]}", monkeypatch)
        assert find(TINY) == source
        message = refusal(lambda: fetch_weights(source, half=False))
        assert ".safetensors: the hub cannot be reached" in message


# ---- silence -----------------------------------------------------------------------------------


@pytest.fixture
def loud(monkeypatch, tmp_path, hub, capfd):
    """Let the hub's client draw its bars though nobody looks; check that it does."""
    monkeypatch.setenv("TQDM_POSITION", "-1")
    for handler in logging.getLogger("huggingface_hub").handlers:
        if isinstance(handler, logging.StreamHandler):  # as it was when it was imported
            monkeypatch.setattr(handler, "stream", sys.stderr)
    assert_client_is_loud(tmp_path / "other", capfd)


def assert_client_is_loud(cache, capfd):
    """Check that the hub's client draws and warns when it is asked by anyone else."""
    snapshot_download(TINY, allow_patterns=["model_index.json"], cache_dir=cache)
    logging.getLogger("huggingface_hub.file_download").warning("Trying to resume")
    shown = capfd.readouterr().err
    assert "Fetching" in shown
    assert "Trying to resume" in shown


def test_library_writes_nothing_and_leaves_the_client_as_it_was(
    hub, loud, capfd, no_waiting, tmp_path
):
    logger = logging.getLogger("huggingface_hub")
    before = logger.level, [(handler, list(handler.filters)) for handler in logger.handlers]
    hub.cut[UNET] = 1
    fetch_weights(find(TINY), half=False)
    assert hub.cut[UNET] == 0
    with pytest.raises(UserError):
        find("someone/else")
    assert capfd.readouterr() == ("", "")
    after = logger.level, [(handler, list(handler.filters)) for handler in logger.handlers]
    assert after == before
    assert_client_is_loud(tmp_path / "another", capfd)


def test_error_stops_the_other_downloads_before_it_is_told(hub, copied, loud, capfd, no_waiting):
    source = find(TINY)
    hub.cut_at_start.add(UNET)  # tried again and again, with a warning each time
    (copied / VAE).unlink()
    with pytest.raises(UserError, match=f"{VAE}: the hub refused: 404|{UNET} was interrupted"):
        fetch_weights(source, half=False)
    asked = len(hub.asked)
    time.sleep(1)
    assert len(hub.asked) == asked
    assert capfd.readouterr() == ("", "")


def test_quiet_command_writes_nothing(hub, loud, tiny_config, tmp_path, capfd):
    arguments = [str(tiny_config), "--quiet", f"model={TINY}", "export.formats=[]"]
    assert run_module.main(arguments) == 0
    assert {UNET, VAE, TEXT} <= set(hub.fetched())
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_quiet_command_that_fails_writes_one_line(hub, tiny_config):
    environment = os.environ | {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tiny_config.parent / "home"),
        "TQDM_POSITION": "-1",
    }
    command = [sys.executable, "-m", "sdloop.run", str(tiny_config), "--quiet"]
    for name, said in (("someone/else", "no such repository"), (TINY, "was interrupted")):
        hub.cut_at_start.add("tokenizer/vocab.json")
        ended = subprocess.run(
            [*command, f"model={name}"], env=environment, capture_output=True, text=True
        )
        assert (ended.returncode, ended.stdout) == (2, "")
        assert ended.stderr.count("\n") == 1
        assert said in ended.stderr


# ---- small decoders ----------------------------------------------------------------------------

DECODER = "owner/decoder"


@pytest.fixture
def decoder(hub, tmp_path):
    """Let the hub serve a small decoder; return it, and the model that it is for."""
    network = make_tiny(tmp_path / "decoder")
    (tmp_path / "decoder/taesd_decoder.pth").write_bytes(b"pickled")
    hub.repositories[DECODER] = tmp_path / "decoder"
    return network


def test_small_decoder_comes_from_the_hub_and_then_from_its_cache(hub, decoder, models, offline):
    found = find_tiny(models.source, DECODER)
    assert hub.fetched() == ["config.json"]
    tiny = load_tiny(found, CPU, torch.float32)
    assert hub.fetched() == ["config.json", "diffusion_pytorch_model.safetensors"]
    z = torch.randn(1, 4, 4, 4)
    with torch.inference_mode():
        torch.testing.assert_close(tiny.decode(z).sample, decoder.decode(z).sample)
    offline()
    again = find_tiny(models.source, DECODER)
    assert hash_tiny(again) == hash_tiny(found)
    load_tiny(again, CPU, torch.float32)


def test_family_names_a_small_decoder_for_models_without_one(hub, decoder, models):
    hub.repositories[models.source.family.tiny] = hub.repositories[DECODER]
    assert find_tiny(models.source).name == "madebyollin/taesd"


def test_small_decoder_that_is_not_there_is_told_by_its_key(hub, decoder, models, offline):
    said = refusal(lambda: find_tiny(models.source, "owner/nothing"))
    assert said.startswith("decode.tiny = owner/nothing: no such folder here, and the hub has no")
    (hub.repositories[DECODER] / "diffusion_pytorch_model.safetensors").unlink()
    said = refusal(lambda: find_tiny(models.source, DECODER))
    assert "the repository has no diffusion_pytorch_model.safetensors" in said
    offline()
    said = refusal(lambda: find_tiny(models.source, "owner/other"))
    assert said.startswith("decode.tiny = owner/other: ")
    assert "HF_HUB_OFFLINE is set" in said


def test_small_decoder_damaged_in_the_cache_is_told_by_its_hash(hub, decoder, models):
    found = find_tiny(models.source, DECODER)
    load_tiny(found, CPU, torch.float32)
    path = found.weights.resolve()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    said = refusal(lambda: hash_tiny(found))
    assert said.startswith(f"decode.tiny = {DECODER}: diffusion_pytorch_model.safetensors is damag")
