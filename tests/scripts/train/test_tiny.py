"""The small decoder's training in miniature: it learns, resumes to the bit, and is exported."""

import json

import pytest
import torch
from diffusers import AutoencoderTiny

from scripts.train import tiny
from scripts.train.pairs import Pairs, PairStream
from scripts.train.tiny import export, measure_psnr_db, start_training, train_tiny
from tests.scripts.train.test_training import assert_same


class StopAfter:
    """Asks a training to stop after some steps."""

    steps = 10**9

    def __enter__(self):
        self.left = self.steps
        return self

    def __exit__(self, *error):
        pass

    @property
    def asked(self):
        self.left -= 1
        return self.left < 0


@pytest.fixture(autouse=True)
def own_signals(monkeypatch):
    monkeypatch.setattr(tiny, "Stop", StopAfter)


def test_pairs_are_made_once_and_half_of_them_are_predictions(settings):
    pairs = Pairs(settings)
    latents, pictures = pairs.read(0)
    assert latents.shape[0] == pictures.shape[0] == 32
    assert pictures.shape[-1] == 8 * latents.shape[-1]
    (file,) = pairs.folder.iterdir()
    before = file.stat().st_mtime_ns
    again, _ = Pairs(settings).read(0)
    assert torch.equal(latents, again)
    assert file.stat().st_mtime_ns == before
    rows = latents[16:]  # one run's
    assert len({float(row.sum()) for row in rows}) == 16


def test_stream_takes_every_pair_once_before_it_comes_again(settings):
    stream = PairStream(Pairs(settings), 1)
    first = torch.cat([stream.take(start, 8)[0] for start in range(0, 32, 8)])
    known, _ = Pairs(settings).read(0)
    assert torch.equal(first.flatten(1).sum(1).sort()[0], known.flatten(1).sum(1).sort()[0])
    second = torch.cat([stream.take(start, 8)[0] for start in range(32, 64, 8)])
    assert not torch.equal(first, second)


def test_small_decoder_learns_and_is_exported_in_diffusers_layout(settings, tmp_path):
    before = measure_psnr_db(start_training(settings).average, settings, files=1)
    average = train_tiny(settings).average
    after = measure_psnr_db(average, settings, files=1)
    assert after[0] > before[0] + 3
    assert after[1] > before[1] + 1
    (tmp_path / "sha256.json").write_text("{}")
    size = export(average, settings, tmp_path / "tiny_vae")
    (named,) = json.loads((tmp_path / "sha256.json").read_text())
    assert (tmp_path / named).stat().st_size == size
    assert size < 20_000
    theirs = AutoencoderTiny.from_pretrained(tmp_path / "tiny_vae").decoder
    z = torch.randn(1, 4, 4, 4)
    torch.testing.assert_close(theirs(z), average.half().float()(z), rtol=1e-4, atol=1e-4)


def test_small_decoder_resumes_to_the_bit(settings, tmp_path, monkeypatch):
    checkpoint = settings.work / "tiny.pt"
    assert train_tiny(settings).samples == 160
    straight = checkpoint.rename(tmp_path / "straight.pt")
    monkeypatch.setattr(StopAfter, "steps", 9)
    assert train_tiny(settings).samples == 9 * 8
    monkeypatch.setattr(StopAfter, "steps", 10**9)
    train_tiny(settings)
    assert_same(straight, checkpoint)
