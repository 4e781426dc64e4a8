"""Thousands of generated bad inputs: each is accepted or refused in one line, and memory is kept.

The counts are printed: pytest -m slow tests/job/test_hostile_input.py -s. SDLOOP_HOSTILE_SEED=7
takes another seed than the fixed one, SDLOOP_HOSTILE_TIMES=3 three times as many inputs.
"""

import json
import os
import random
import shutil
import struct
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from sdloop.job.config import RunConfig, dump_config
from sdloop.job.config_file import load_config
from sdloop.job.plan import prepare
from sdloop.machine.errors import UserError
from sdloop.model.networks import load
from sdloop.run import main
from sdloop.sampler.trajectory import METADATA_KEY, Trajectory, digest_of

pytestmark = pytest.mark.slow

TIMES = int(os.environ.get("SDLOOP_HOSTILE_TIMES", "1"))
SEED = int(os.environ.get("SDLOOP_HOSTILE_SEED", "1"))
MEMORY_BYTES = 400_000_000  # above what the process had before; hostile sizes claim far more
CPU = torch.device("cpu")


def inputs(count, **strategies):
    """Draw this many inputs, the same ones in every run with one seed."""

    def decorate(test):
        drawn = settings(
            max_examples=count * TIMES,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )(given(**strategies)(test))
        return seed(SEED)(drawn)

    return decorate


class Tally:
    """Counts what became of the inputs of one kind."""

    def __init__(self):
        self.accepted = self.refused = 0

    def attempt(self, action):
        """Run it; anything but a result or a UserError of one line is a failure."""
        try:
            result = action()
        except UserError as error:
            said = str(error)
        else:
            self.accepted += 1
            return result
        assert said
        assert said.isprintable()
        self.refused += 1
        return None


@pytest.fixture(autouse=True)
def no_hub(monkeypatch, tmp_path):
    """Keep names such as a/b from being asked for."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


@contextmanager
def tallied(kind, count):
    """Count, print the count, and hold it and the memory against what was meant."""
    tally, before = Tally(), resident_bytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    yield tally
    total, grown = tally.accepted + tally.refused, resident_bytes("VmHWM") - before
    print(
        f"\nhostile {kind}: {total} inputs, {tally.refused} refused, {tally.accepted} accepted, "
        f"seed {SEED}, memory +{grown / 1e6:.0f} MB"
    )
    assert total >= count * TIMES
    assert tally.refused > total / 20  # or they are not hostile
    assert grown < MEMORY_BYTES


def resident_bytes(key):
    """Read the process's memory, now (VmRSS) or at its peak (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


# ---- what is drawn ---------------------------------------------------------------------------

ODD_NUMBERS = st.sampled_from(
    [0, -1, 1, 2, 3, 2**31, 2**63 - 1, 2**63, 10**9, 10**12, 10**30, -(10**30), 0.5, -0.0, 1e-300,
     1e300, float("inf"), float("-inf"), float("nan"), 10**399]
)  # fmt: skip
ODD_TEXTS = st.sampled_from(
    ["", ".", "..", "../../x", "/dev/zero", "/etc/passwd", "~nobodyhere/x", "~", "a\0b", "\x1b[2J",
     "\ud800", "\u202e", "%s%n", "x" * 5000, "!!python/object:os.system", "*a", "&a", "<<", "null",
     "true", "1e999", "0x" + "f" * 500, "2024-99-99", "0b_", "1:59:59", "=", "a/b", "x.safetensors",
     "evil/kernel", "cuda:9", "{}", "[", "a: b: c", "\n\n", "\ufeff"]
)  # fmt: skip
LEAVES = (
    st.none() | st.booleans() | st.integers() | ODD_NUMBERS | ODD_TEXTS | st.text(max_size=20)
    | st.floats()
)  # fmt: skip
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)  # fmt: skip
MANY = st.sampled_from([20, 60, 200, 600]).map(lambda count: [1] * count)
DEEP = st.integers(10, 3000).map(
    lambda depth: json.loads("[" * min(depth, 400) + "]" * min(depth, 400))
)
HOSTILE = VALUES | MANY | DEEP


def key_paths(model=RunConfig, before=""):
    """List the config's keys with dots."""
    paths = []
    for name, field in model.model_fields.items():
        paths.append(before + name)
        if hasattr(field.annotation, "model_fields"):
            paths += key_paths(field.annotation, f"{before}{name}.")
    return paths


KEYS = st.sampled_from(key_paths()) | st.text(max_size=12) | ODD_TEXTS


@st.composite
def mutations(draw):
    """Draw what is done to a file's bytes: a list of (what, share of the length, bytes)."""
    kinds = st.sampled_from(["cut", "flip", "set", "insert", "delete", "double"])
    edit = st.tuples(kinds, st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=12))
    return draw(st.lists(edit, min_size=1, max_size=4))


def mutate(content, edits, within=None):
    """Apply mutations to bytes, all before `within`."""
    content = bytearray(content)
    for what, share, new in edits:
        at = int(share * min(len(content), within or len(content)))
        if what == "cut":
            del content[at:]
        elif what == "flip" and at < len(content):
            content[at] ^= 1 << new[0] % 8
        elif what == "set":
            content[at : at + len(new)] = new
        elif what == "insert":
            content[at:at] = new
        elif what == "delete":
            del content[at : at + new[0]]
        elif what == "double":
            content[at:at] = content[at : at + 40 * new[0]]
    return bytes(content)


def places_in(values, before=()):
    """List the ways to every value of a JSON document."""
    for key, value in values.items() if isinstance(values, dict) else enumerate(values):
        yield (*before, key)
        if isinstance(value, dict | list):
            yield from places_in(value, (*before, key))


def put(values, place, new, remove=False):
    """Set or remove one value of a JSON document."""
    *way, last = place
    for key in way:
        values = values[key]
    if remove:
        del values[last]
    else:
        values[last] = new


# ---- configs, overrides, prompts: through the command itself -----------------------------------


def dry_run(tally, capsys, arguments):
    """Run the command; it must answer with a config, or with one line and exit code 2."""
    code = main([*arguments, "--dry-run"])
    out, err = capsys.readouterr()
    if code == 0:
        tally.accepted += 1
        return out
    tally.refused += 1
    assert code == 2, err
    assert err.startswith("error: ")
    assert err[:-1].isprintable(), err
    assert err[-1] == "\n"
    assert out == ""
    return None


def test_structured_configs(tmp_path, capsys):
    path = tmp_path / "c.yaml"

    @inputs(1000, changes=st.lists(st.tuples(KEYS, HOSTILE), min_size=1, max_size=3))
    def check(changes):
        values = {"prompt": "p", "scheduler": {"num_steps": 3}}
        for key, value in changes:
            inner = values
            *parents, leaf = key.split(".")
            for parent in parents:
                inner = inner.setdefault(parent, {}) if isinstance(inner, dict) else {}
            if isinstance(inner, dict):
                inner[leaf] = value
        # JSON is YAML, but for what JSON's writer leaves as no JSON at all
        path.write_text(json.dumps(values), encoding="utf-8")
        printed = dry_run(tally, capsys, [str(path)])
        if printed is not None:
            path.write_text(printed, encoding="utf-8")
            assert printed.startswith(dump_config(load_config(path)))

    with tallied("configs (values)", 1000) as tally:
        check()


def test_raw_configs(tmp_path, capsys):
    path = tmp_path / "c.yaml"
    good = dump_config(RunConfig(prompt="a: 'b' # \"ü\"", negative_prompt="x\ny")).encode()
    marks = ["&a ", "*a", "!!int ", "? ", ": ", "- ", "{", "[", "|", ">", "%YAML 9.9\n", "---\n",
             "...\n", "\t", "<<: ", "'", '"', "\\x00", "\0", "#", "@", "`", "\x85",
             "\ufeff"]  # fmt: skip
    soup = st.lists(st.sampled_from(marks) | st.text(max_size=6), max_size=30).map("".join)

    @inputs(1000, edits=mutations(), raw=st.none() | st.binary(max_size=200) | soup)
    def check(edits, raw):
        if isinstance(raw, str):
            raw = raw.encode("utf-8", "surrogatepass")
        path.write_bytes(mutate(good, edits) if raw is None else b"prompt: p\n" + raw)
        dry_run(tally, capsys, [str(path)])

    with tallied("configs (bytes)", 1000) as tally:
        check()


def test_overrides(tmp_path, capsys):
    path = tmp_path / "c.yaml"
    path.write_text("prompt: p\n")
    texts = ODD_TEXTS | st.text(max_size=30) | VALUES.map(lambda value: json.dumps(value))
    override = st.tuples(KEYS, texts).map("=".join).filter(lambda text: not text.startswith("-"))

    @inputs(1200, overrides=st.lists(override, min_size=1, max_size=3))
    def check(overrides):
        dry_run(tally, capsys, [str(path), *overrides])

    with tallied("overrides", 1200) as tally:
        check()


def test_prompts_come_back_as_they_were(tmp_path, capsys):
    path = tmp_path / "c.yaml"
    controls = st.characters(categories=["Cc", "Cs", "Cf", "Co", "Cn", "Zl", "Zp"])
    letters = st.text(st.characters() | controls, max_size=40)
    prompts = letters | st.tuples(letters, st.integers(200, 20_000)).map(lambda p: p[0] * p[1])

    @inputs(1000, prompt=prompts)
    def check(prompt):
        path.write_text("prompt: p\n")
        printed = dry_run(tally, capsys, [str(path), f"prompt={prompt}"])
        if printed is not None:
            path.write_text(printed, encoding="utf-8")
            assert load_config(path).prompt == prompt

    with tallied("prompts", 1000) as tally:
        check()


# ---- trajectories ------------------------------------------------------------------------------


@pytest.fixture
def good_trajectory(tmp_path):
    path = tmp_path / "trajectory.safetensors"
    steps = torch.randn(3, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    start = torch.cat([steps[:1], steps])
    Trajectory(start, steps, torch.tensor([9, 5, 1]), steps.neg(), {"a": "ü"}).save(path)
    return path


def split(content):
    """Cut a safetensors file into its header and its tensors' bytes."""
    size = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + size]), content[8 + size :]


def join(header, data):
    """Put a safetensors file together."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def test_trajectories_bytes(good_trajectory):
    whole = good_trajectory.read_bytes()
    header_bytes = 8 + int.from_bytes(whole[:8], "little")
    expected = Trajectory.load(good_trajectory)

    @inputs(1000, edits=mutations(), in_header=st.booleans())
    def check(edits, in_header):
        good_trajectory.write_bytes(mutate(whole, edits, header_bytes if in_header else None))
        changed = good_trajectory.read_bytes() != whole
        loaded = tally.attempt(lambda: Trajectory.load(good_trajectory))
        assert (loaded is None) == changed
        if loaded is not None:
            assert torch.equal(loaded.latents, expected.latents)

    with tallied("trajectories (bytes)", 1000) as tally:
        check()


def test_trajectories_headers(good_trajectory):
    header, data = split(good_trajectory.read_bytes())
    places = st.sampled_from(list(places_in(header)))
    facts = json.loads(header["__metadata__"][METADATA_KEY])
    fact_places = st.sampled_from(list(places_in(facts)))

    @inputs(
        700, edits=st.lists(st.tuples(places, HOSTILE, st.booleans()), max_size=2),
        fact_edits=st.lists(st.tuples(fact_places, HOSTILE, st.booleans()), max_size=2),
        signed=st.booleans(), data_edits=st.none() | mutations(),
    )  # fmt: skip
    def check(edits, fact_edits, signed, data_edits):
        changed, changed_facts = json.loads(json.dumps([header, facts]))
        for place, new, remove in fact_edits:
            with_errors_ignored(lambda p=place, n=new, r=remove: put(changed_facts, p, n, r))
        if signed:  # by one who knows how
            unsigned = {key: value for key, value in changed_facts.items() if key != "sha256"}
            tensors = Trajectory.load(intact).__dict__
            kept = {k: v for k, v in tensors.items() if isinstance(v, torch.Tensor)}
            order = ("latents", "z0_hat", "timesteps", "guidance")
            changed_facts["sha256"] = digest_of(unsigned, {name: kept[name] for name in order})
        changed["__metadata__"][METADATA_KEY] = json.dumps(changed_facts)
        for place, new, remove in edits:
            with_errors_ignored(lambda p=place, n=new, r=remove: put(changed, p, n, r))
        content = data if data_edits is None else mutate(data, data_edits)
        good_trajectory.write_bytes(join(changed, content))
        tally.attempt(lambda: Trajectory.load(good_trajectory, (4, 4, 2, 2)))

    intact = good_trajectory.with_name("intact.safetensors")
    shutil.copy(good_trajectory, intact)
    with tallied("trajectories (headers)", 700) as tally:
        check()


def with_errors_ignored(action):
    """Leave out an edit of a place that an earlier edit took away."""
    try:
        action()
    except (KeyError, IndexError, TypeError):
        return


# ---- models ------------------------------------------------------------------------------------

CONFIGS = (
    "unet/config.json", "vae/config.json", "text_encoder/config.json",
    "scheduler/scheduler_config.json", "tokenizer/tokenizer_config.json",
)  # fmt: skip
WEIGHTS = (
    "unet/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors",
    "text_encoder/model.safetensors",
)  # fmt: skip
FOREIGN_KEYS = st.sampled_from([
    "auto_map", "quantization_config", "_attn_implementation", "attn_implementation", "torch_dtype",
    "dtype", "architectures", "trust_remote_code", "_name_or_path", "model_type", "text_config",
    "fast_tokenizer_files", "init_inputs", "vocab_file", "added_tokens_decoder", "chat_template",
    "extra_special_tokens", "pad_token", "_class_name", "_use_default_values",
    "tie_word_embeddings", "kernel_config", "experts_implementation", "output_attentions",
    "output_hidden_states",
])  # fmt: skip


def plan(folder, name=None):
    """Check a model as --dry-run does."""
    config = RunConfig(
        prompt="p", model=str(name or folder), model_config_from=str(folder),
        scheduler={"num_steps": 3},
    )  # fmt: skip
    return prepare(config).source


def prepared_copy(model_folder, tmp_path):
    """Copy the model, and return each config's content."""
    folder = shutil.copytree(model_folder, tmp_path / "model")
    return folder, {part: json.loads((folder / part).read_text()) for part in CONFIGS}


def test_model_configs(model_folder, tmp_path):
    folder, configs = prepared_copy(model_folder, tmp_path)
    kept = random.Random(SEED)

    @inputs(1000, part=st.sampled_from(CONFIGS), new=HOSTILE, data=st.data())
    def check(part, new, data):
        content = json.loads(json.dumps(configs[part]))
        place = data.draw(
            st.sampled_from(list(places_in(content))) | FOREIGN_KEYS.map(lambda k: (k,))
        )
        put(content, place, new, remove=place[-1] in content and data.draw(st.booleans()))
        (folder / part).write_text(json.dumps(content))
        source = tally.attempt(lambda: plan(folder))
        if source is not None and kept.random() < 0.1:
            # what was planned must load, or be refused in one line
            loading.attempt(lambda: load(source, CPU, torch.float32))
        (folder / part).write_text(json.dumps(configs[part]))

    loading = Tally()
    with tallied("models (configs)", 1000) as tally:
        check()
    print(f"  of these {loading.accepted} were loaded, {loading.refused} refused when loaded")


def test_model_files_bytes(model_folder, tmp_path):
    folder, _ = prepared_copy(model_folder, tmp_path)
    tokenizer = [f"tokenizer/{path.name}" for path in (folder / "tokenizer").iterdir()]
    wholes = {part: (folder / part).read_bytes() for part in (*CONFIGS, *WEIGHTS, *tokenizer)}
    kept = random.Random(SEED)

    @inputs(500, part=st.sampled_from(sorted(wholes)), edits=mutations())
    def check(part, edits):
        whole = wholes[part]
        header_bytes = 8 + int.from_bytes(whole[:8], "little") if part in WEIGHTS else None
        (folder / part).write_bytes(mutate(whole, edits, header_bytes))
        source = tally.attempt(lambda: plan(folder))
        if source is not None and kept.random() < 0.2:
            loading.attempt(lambda: load(source, CPU, torch.float32))
        (folder / part).write_bytes(whole)

    loading = Tally()
    with tallied("models (bytes)", 500) as tally:
        check()
    print(f"  of these {loading.accepted} were loaded, {loading.refused} refused when loaded")


def header_edits(header):
    """Draw edits of a safetensors header: any value of it, and whole entries."""
    names = [name for name in header if name != "__metadata__"]
    places = [(name,) for name in names] + [
        (name, *way) for name in names[:6] for way in places_in(header[name])
    ]
    entry = st.fixed_dictionaries({
        "dtype": st.sampled_from(["F32", "F16", "BF16", "F64", "I8", "F8_E4M3", "I64", "Q4", ""]),
        "shape": st.lists(st.sampled_from([0, 1, 2, 16, 10**9, 2**48, -1]), max_size=5),
        "data_offsets": st.lists(st.sampled_from([0, 4, 64, 10**12, -8]), min_size=2, max_size=2),
    })  # fmt: skip
    return st.lists(
        st.tuples(st.sampled_from(places), entry | HOSTILE, st.booleans()), min_size=1, max_size=3
    )


def test_model_weight_headers(model_folder, tmp_path):
    folder, _ = prepared_copy(model_folder, tmp_path)
    part = folder / WEIGHTS[0]
    header, data = split(part.read_bytes())

    @inputs(500, edits=header_edits(header))
    def check(edits):
        changed = json.loads(json.dumps(header))
        for place, new, remove in edits:
            with_errors_ignored(lambda p=place, n=new, r=remove: put(changed, p, n, r))
        part.write_bytes(join(changed, data))
        tally.attempt(lambda: plan(folder))

    with tallied("models (headers of weights)", 500) as tally:
        check()


def test_checkpoints(model_folder, tmp_path):
    prefixes = ("cond_stage_model.transformer.", "model.diffusion_model.", "first_stage_model.")
    # places in the file of four bytes each, under names that a checkpoint has
    names = [f"{prefix}{number}.weight" for prefix in prefixes for number in range(3)]
    names += [
        "model.diffusion_model.input_blocks.0.0.weight",
        "first_stage_model.encoder.conv_in.bias",
    ]
    header = {
        name: {"dtype": "F32", "shape": [1], "data_offsets": [4 * number, 4 * number + 4]}
        for number, name in enumerate(names)
    }
    data = bytes(4 * len(names))
    path = tmp_path / "x.safetensors"
    whole = join(header, data)

    @inputs(500, edits=header_edits(header), raw=st.none() | mutations())
    def check(edits, raw):
        changed = json.loads(json.dumps(header))
        for place, new, remove in edits:
            with_errors_ignored(lambda p=place, n=new, r=remove: put(changed, p, n, r))
        path.write_bytes(join(changed, data) if raw is None else mutate(whole, raw, len(whole)))
        source = tally.attempt(lambda: plan(model_folder, path))
        if source is not None:
            loading.attempt(lambda: load(source, CPU, torch.float32))

    loading = Tally()
    with tallied("checkpoints", 500) as tally:
        check()
    assert loading.accepted == 0  # they hold no network
