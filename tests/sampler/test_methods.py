"""Every method against diffusers' scheduler, row by row, on a small nonlinear network."""

import inspect
import itertools
import math
import warnings

import numpy as np
import pytest
import torch
from diffusers.schedulers import AysSchedules

from sdloop.machine.errors import UserError
from sdloop.sampler.loop import fresh_noise, initial_noise, walk
from sdloop.sampler.methods import METHODS, find_method, make_table
from sdloop.sampler.scheduler_config import override, read_settings
from sdloop.sampler.sigmas import beta_quantiles
from sdloop.show.measure.drive import split_steps
from tests.scipy_stand_in import scheduler_class

SHAPE = (2, 4, 4)
SEED = 7
MIXING = torch.randn(32, 32, generator=torch.Generator().manual_seed(0)).double() / 32**0.5
SD = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
EPS_V = ("epsilon", "v_prediction")
THREE = (*EPS_V, "sample")
SPACINGS = ("linspace", "leading", "trailing")
STEPS = (1, 2, 3, 4, 7, 12, 20)
CUT = ("use_exponential_sigmas", "use_beta_sigmas")
SPREAD = (None, "use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas")
BOTH = (False, True)


def network(z, t):
    """Stand for a UNet: any function of both that is not linear in z will do."""
    flat = z.reshape(1, -1).double()
    out = torch.tanh(flat @ MIXING) * math.cos(float(t) / 300) + 0.3 * flat
    return out.float().reshape(z.shape)


# class -> options -> the values that are tried; "spread" names the flag that is set,
# "step" is what the scheduler's step takes
SPACED = {"timestep_spacing": SPACINGS, "steps_offset": (0, 1), "steps": STEPS}
ODE = {**SPACED, "spread": SPREAD}
SOLVER = {
    **ODE, "prediction_type": THREE, "solver_order": (1, 2, 3), "lower_order_final": (True, False),
}  # fmt: skip
GRIDS = {
    "DDIMScheduler": {
        **SPACED, "prediction_type": THREE, "set_alpha_to_one": BOTH, "eta": (0.0, 0.4, 1.0),
        "rescale_betas_zero_snr": BOTH,
    },
    "DDPMScheduler": {
        **SPACED, "prediction_type": THREE, "variance_type": ("fixed_small", "fixed_large"),
        "rescale_betas_zero_snr": BOTH,
    },
    "EulerDiscreteScheduler": {
        **ODE, "prediction_type": THREE, "final_sigmas_type": ("zero", "sigma_min"),
        "interpolation_type": ("linear", "log_linear"), "rescale_betas_zero_snr": BOTH,
        "sigma_max": (None, 10.0), "sigma_min": (None, 0.05),
        "timestep_type": ("discrete", "continuous"),
    },
    "EulerAncestralDiscreteScheduler": {
        **SPACED, "prediction_type": EPS_V, "rescale_betas_zero_snr": BOTH,
    },
    "HeunDiscreteScheduler": {**ODE, "prediction_type": THREE},
    "KDPM2DiscreteScheduler": {**ODE, "prediction_type": EPS_V},
    "KDPM2AncestralDiscreteScheduler": {**ODE, "prediction_type": EPS_V},
    "LMSDiscreteScheduler": {**ODE, "prediction_type": THREE},
    "DPMSolverMultistepScheduler": {
        **SOLVER, "solver_type": ("midpoint", "heun", "bh2"), "rescale_betas_zero_snr": BOTH,
        "algorithm_type": ("dpmsolver++", "sde-dpmsolver++", "dpmsolver"),
        "spread": (*SPREAD, "use_lu_lambdas"), "euler_at_final": BOTH,
        "final_sigmas_type": ("zero", "sigma_min"), "lambda_min_clipped": (-math.inf, -2.0),
    },
    "DPMSolverSinglestepScheduler": {
        "prediction_type": THREE, "solver_order": (1, 2, 3), "lower_order_final": BOTH,
        "steps": STEPS, "solver_type": ("midpoint", "heun"), "spread": SPREAD,
        "algorithm_type": ("dpmsolver++", "sde-dpmsolver++", "dpmsolver"),
        "final_sigmas_type": ("zero", "sigma_min"), "lambda_min_clipped": (-math.inf, -2.0),
    },
    "UniPCMultistepScheduler": {
        **SOLVER, "solver_type": ("bh1", "bh2"), "predict_x0": BOTH,
        "disable_corrector": ((), (0, 2)), "final_sigmas_type": ("zero", "sigma_min"),
        "rescale_betas_zero_snr": BOTH, "sigma_max": (None, 10.0),
    },
    "DEISMultistepScheduler": SOLVER,
    "LCMScheduler": {
        "prediction_type": THREE, "steps": (1, 2, 3, 4, 8), "original_inference_steps": (50, 20),
        "timestep_scaling": (10.0, 5.0), "rescale_betas_zero_snr": BOTH,
    },
    "TCDScheduler": {
        "prediction_type": THREE, "steps": (1, 2, 3, 4, 8), "original_inference_steps": (50, 20),
        "eta": (0.0, 0.3, 1.0), "rescale_betas_zero_snr": BOTH,
    },
    "FlowMatchEulerDiscreteScheduler": {
        "steps": STEPS, "shift": (1.0, 3.0), "stochastic_sampling": BOTH,
        "shift_terminal": (None, 0.1), "spread": SPREAD,
    },
}  # fmt: skip
MODULES = {
    "DDIMScheduler": "ddim", "DDPMScheduler": "ddpm", "EulerDiscreteScheduler": "euler_discrete",
    "EulerAncestralDiscreteScheduler": "euler_ancestral_discrete",
    "HeunDiscreteScheduler": "heun_discrete", "KDPM2DiscreteScheduler": "k_dpm_2_discrete",
    "KDPM2AncestralDiscreteScheduler": "k_dpm_2_ancestral_discrete",
    "LMSDiscreteScheduler": "lms_discrete", "PNDMScheduler": "pndm",
    "DPMSolverMultistepScheduler": "dpmsolver_multistep",
    "DPMSolverSinglestepScheduler": "dpmsolver_singlestep",
    "UniPCMultistepScheduler": "unipc_multistep", "DEISMultistepScheduler": "deis_multistep",
    "LCMScheduler": "lcm", "TCDScheduler": "tcd",
    "FlowMatchEulerDiscreteScheduler": "flow_match_euler_discrete",
}  # fmt: skip
CLASSES = {name: scheduler_class(name, f"scheduling_{end}") for name, end in MODULES.items()}
FLOW_SOLVERS = [
    (name, {
        "use_flow_sigmas": True, "flow_shift": shift, "prediction_type": "flow_prediction",
        "solver_order": order, "steps": steps, **end,
    })
    for name, end in (
        ("DPMSolverMultistepScheduler", {}), ("DEISMultistepScheduler", {}),
        ("UniPCMultistepScheduler", {}), ("DPMSolverSinglestepScheduler", {}),
    )
    for shift, order, steps in ((1.0, 2, 12), (3.0, 2, 20), (3.0, 3, 12))
]  # fmt: skip


def possible(name, case):
    """Leave out what diffusers itself cannot run: it raises, or leaves the numbers."""
    zero = case.get("final_sigmas_type") == "zero"
    start_is_noise = case.get("timestep_spacing") != "leading"
    eps_of_nothing = case.get("rescale_betas_zero_snr") and case["prediction_type"] == "epsilon"
    if name.startswith(("DDIM", "DDPM", "LCM", "TCD")) and eps_of_nothing and start_is_noise:
        return False  # 0 / 0
    eps_form = case.get("algorithm_type") == "dpmsolver" or not case.get("predict_x0", True)
    if eps_form and case.get("rescale_betas_zero_snr"):
        return False  # it multiplies by 4096 at once, and float32 with it
    if zero and case.get("algorithm_type") == "dpmsolver":
        return False
    if name == "UniPCMultistepScheduler" and zero:
        if case["solver_type"] == "bh1":
            return False  # infinity times 0 in the last step
        return case["predict_x0"] and case["lower_order_final"]
    if name == "UniPCMultistepScheduler" and case.get("spread"):
        return case["lower_order_final"]  # else the last step, from sigma_min to itself, is 0 / 0
    if name == "DPMSolverSinglestepScheduler" and case["steps"] < case["solver_order"]:
        return case["lower_order_final"]  # else diffusers finds no order for the step
    if case.get("spread") == "use_beta_sigmas" and case.get("rescale_betas_zero_snr"):
        return "solver_order" not in case  # the first time comes twice: diffusers skips a step
    if name == "DPMSolverMultistepScheduler" and case.get("spread") and not zero:
        return case["solver_order"] == 1  # a last step of length 0, or what float32 makes of it
    if name == "FlowMatchEulerDiscreteScheduler" and case["shift_terminal"]:
        return case["steps"] > 1  # 0 / 0
    if case.get("interpolation_type") == "log_linear" and case.get("spread"):
        return False  # diffusers' log_linear is no array that the other takes
    # one step of a spread goes nowhere; the levels of a single step coincide
    return not (case["steps"] == 1 and case.get("spread") == "use_beta_sigmas")


def covering(name, grid, strength, pool=800):
    """Choose cases so that every possible combination of `strength` values meets in one."""
    keys, generator = list(grid), np.random.default_rng(0)
    picks = [[generator.integers(len(grid[key])) for key in keys] for _ in range(3 * pool)]
    cases = [{key: grid[key][at] for key, at in zip(keys, pick, strict=True)} for pick in picks]
    fit = [number for number, case in enumerate(cases) if possible(name, case)][:pool]
    chosen = np.array([picks[number] for number in fit])
    columns = []
    for some in itertools.combinations(range(len(keys)), strength):
        sizes = [len(grid[keys[key]]) for key in some]
        group = np.ravel_multi_index(tuple(chosen[:, some].T), sizes)
        columns.append(group[:, None] == np.arange(math.prod(sizes)))
    meets = np.concatenate(columns, axis=1)
    missing, taken = meets.any(axis=0), []
    while missing.any():
        taken.append(int((meets & missing).sum(axis=1).argmax()))
        missing &= ~meets[taken[-1]]
    return [cases[fit[number]] for number in taken]


def oracle_of(name, case):
    """Build diffusers' scheduler, and what its step takes beside."""
    options = {key: value for key, value in case.items() if key not in ("steps", "spread", "eta")}
    if case.get("spread"):
        options[case["spread"]] = True
    kind = CLASSES[name]
    known = inspect.signature(kind.__init__).parameters
    betas = SD if "beta_start" in known else {}
    clip = {"clip_sample": False} if "clip_sample" in known else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return kind(**betas, **clip, **options)


def config_of(oracle):
    return {**oracle.config, "_class_name": type(oracle).__name__}


def run_oracle(oracle, case):
    """Return what the network is asked about, what leaves the last step, times and z0 by row."""
    generator = torch.Generator().manual_seed(SEED)
    noise = torch.randn((1, *SHAPE), generator=generator)
    oracle.set_timesteps(case["steps"])
    if type(oracle).__name__ == "DEISMultistepScheduler":
        oracle.sigmas = oracle.sigmas.double()  # its differences leave float32 some 1e-4
    x = noise * getattr(oracle, "init_noise_sigma", 1.0)
    takes = inspect.signature(oracle.step).parameters
    extra = {"generator": generator} if "generator" in takes else {}
    extra |= {"eta": case["eta"]} if "eta" in case else {}
    asked, z0_hats = [], []
    for t in oracle.timesteps:
        scale = getattr(oracle, "scale_model_input", lambda x, t: x)
        asked.append(scale(x, t))
        try:
            result = oracle.step(network(asked[-1], t), t, x, **extra)
        except AssertionError:  # times that round alike make its UniPC lose count of its steps
            pytest.skip("diffusers itself fails at these options")
        x = result.prev_sample
        z0_hats.append(getattr(result, "pred_original_sample", None))
    return asked, x, oracle.timesteps.double().numpy(), z0_hats


def settings_of(config, case):
    return override(read_settings(config), {"eta": case.get("eta")})


def assert_parity(name, case, tolerance=2e-5):
    oracle = oracle_of(name, case)
    config = config_of(oracle)
    asked, last, times, z0_hats = run_oracle(oracle, case)
    table = make_table(settings_of(config, case), case["steps"])
    # where diffusers cuts times off, float32 may leave it 998.99999 of 999
    cut = case.get("spread") in CUT and "solver_order" in case
    np.testing.assert_allclose(table.timesteps, times, rtol=1e-4, atol=1 if cut else 0.02)
    z = table.init * initial_noise([SEED], *SHAPE)
    noise = fresh_noise([SEED], table, *SHAPE) if table.noisy else None
    steps = list(walk(lambda z, row: network(z, times[row]), table, z, 1.0, noise))
    space = table.signal_to[-1] if METHODS[find(config)].scales_noise else 1.0
    frames = [z, *(step.z for step in steps)]
    for ours, theirs in zip(frames, [*asked, last * space], strict=True):
        top = max(float(theirs.abs().max()), 1e-3)
        torch.testing.assert_close(ours, theirs.float(), rtol=0, atol=tolerance * top)
    for step, z0_hat in zip(steps, z0_hats, strict=True):
        if z0_hat is not None:
            top = max(float(z0_hat.abs().max()), 1e-3)
            torch.testing.assert_close(step.z0_hat, z0_hat.float(), rtol=0, atol=tolerance * top)


def tolerance_of(name, case):
    """Say how far float32 lets diffusers' frame be from exact, by its largest value."""
    if case.get("rescale_betas_zero_snr"):  # sigma is 4096, which stands for infinity
        return 1e-3 if name.startswith("Euler") else 1e-4
    if name.startswith("KDPM2Ancestral") and case["steps"] == 2:
        return 5e-4  # a long step: sigma'^2 - sigma_up^2 leaves it two digits of sigma_down
    return 5e-5 if name.startswith("DEIS") else 2e-5


def find(config):
    return read_settings(config).kind


PAIRS = [(name, case) for name, grid in GRIDS.items() for case in covering(name, grid, 2)]


def told(case):
    """Name a case by its class and what it sets."""
    return str(case) if isinstance(case, str) else ",".join(str(each) for each in case.values())


@pytest.mark.parametrize(("name", "case"), PAIRS[::3], ids=told)
def test_every_frame_equals_diffusers(name, case):
    assert_parity(name, case, tolerance_of(name, case))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "case"), PAIRS, ids=told)
def test_every_frame_equals_diffusers_at_every_pair_of_options(name, case):
    assert_parity(name, case, tolerance_of(name, case))


@pytest.mark.parametrize(("name", "case"), FLOW_SOLVERS, ids=told)
def test_every_frame_of_a_flow_equals_diffusers(name, case):
    assert_parity(name, case, 1e-4)


@pytest.mark.parametrize("kind", METHODS)
def test_a_name_reads_itself_again(kind):
    settings = read_settings(SD, kind)
    assert settings.kind == kind
    saved = {**SD, **METHODS[kind].options, **METHODS[kind].forced}
    named = read_settings({**saved, "clip_sample": False, "_class_name": METHODS[kind].scheduler})
    assert named == settings


@pytest.mark.parametrize(
    ("name", "kind", "spread"),
    [
        ("dpm++_2m", "dpm++_2m", "trained"),
        ("dpm++_2m_karras", "dpm++_2m", "karras"),
        ("dpm++_2m_sde_karras", "dpm++_2m_sde", "karras"),
        ("euler_a", "euler_ancestral", "trained"),
        ("euler_beta", "euler", "beta"),
        ("dpm++_3m_lu", "dpm++_3m", "lu"),
    ],
)
def test_names_that_people_use_are_understood(name, kind, spread):
    settings = read_settings(SD, name)
    assert (settings.kind, settings.sigmas) == (kind, spread)


@pytest.mark.parametrize("name", ["dpm", "ddim_karras", "euler_lu", "_karras", "", "EULER"])
def test_other_names_are_refused_with_a_list(name):
    with pytest.raises(UserError, match=r"allowed: model, .*dpm\+\+_2m.*_karras"):
        find_method(name)


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("EulerDiscreteScheduler", {"use_karras_sigmas": True, "use_beta_sigmas": True}, "one of"),
        ("HeunDiscreteScheduler", {"clip_sample": True}, "clip_sample = True"),
        ("DDPMScheduler", {}, "clip_sample = True"),  # which is its default
        ("DDPMScheduler", {"clip_sample": False, "variance_type": "learned"}, "variance_type"),
        ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver"}, "algorithm_type"),
        ("DPMSolverMultistepScheduler", {"solver_order": 4}, "solver_order = 4"),
        ("DPMSolverMultistepScheduler", {"thresholding": True}, "thresholding = True"),
        ("DPMSolverMultistepScheduler", {"lambda_min_clipped": math.nan}, "lambda_min_clipped"),
        ("UniPCMultistepScheduler", {"solver_p": {}}, "solver_p"),
        ("UniPCMultistepScheduler", {"use_dynamic_shifting": True}, "use_dynamic_shifting"),
        ("UniPCMultistepScheduler", {"use_flow_sigmas": True}, "prediction_type = epsilon"),
        ("UniPCMultistepScheduler", {"shift_terminal": 0.1}, "shift_terminal"),
        ("FlowMatchEulerDiscreteScheduler", {"invert_sigmas": True}, "invert_sigmas = True"),
        ("EulerAncestralDiscreteScheduler", {"prediction_type": "sample"}, "prediction_type"),
        ("DPMSolverSDEScheduler", {}, "DPMSolverSDEScheduler"),  # noise of a Brownian tree
    ],
)  # fmt: skip
def test_options_that_are_not_obeyed_are_refused_by_name(name, change, told):
    with pytest.raises(UserError, match=told):
        read_settings({**SD, "_class_name": name, **change})


def test_an_option_that_a_method_lacks_is_refused():
    settings = read_settings(SD, "euler")
    assert override(settings, {"sigmas": "karras", "eta": None}).sigmas == "karras"
    with pytest.raises(UserError, match=r"scheduler.eta = 0.5: euler has no such option"):
        override(settings, {"eta": 0.5})
    with pytest.raises(UserError, match=r"scheduler.sigmas = 'lu': euler has no such option"):
        override(settings, {"sigmas": "lu"})


def test_epsilon_of_pure_noise_is_refused():
    config = {**SD, "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    with pytest.raises(UserError, match="rescale_betas_zero_snr = True leaves nothing but noise"):
        make_table(read_settings(config, "ddim"), 10)


@pytest.mark.parametrize("prediction", THREE)
def test_zero_terminal_snr_is_what_each_class_makes_of_it(prediction):
    config = {**SD, "timestep_spacing": "trailing", "prediction_type": prediction}
    config |= {"rescale_betas_zero_snr": True}
    from_nothing = {"ddim", "ddpm", "lcm", "tcd"}
    kinds = {kind for kind in METHODS if prediction in METHODS[kind].predictions}
    for kind in kinds - (from_nothing if prediction == "epsilon" else set()):
        table = make_table(read_settings(config, kind), 10)
        assert all(np.isfinite(getattr(table, name)).all() for name in "abcpqw"), kind
        if kind in from_nothing:
            assert table.signal[0] == 0
        elif "rescale_betas_zero_snr" in METHODS[kind].options:
            assert table.signal[0] == 2.0**-12
        else:
            assert table.signal[0] > 0.06  # as it was trained


@pytest.mark.parametrize(
    ("name", "kind", "times"),
    [
        ("EulerDiscreteScheduler", "euler_ays", "StableDiffusionTimesteps"),
        ("HeunDiscreteScheduler", "heun_ays_xl", "StableDiffusionXLTimesteps"),
        ("DPMSolverMultistepScheduler", "dpm++_2m_ays", "StableDiffusionTimesteps"),
        ("DPMSolverSinglestepScheduler", "dpm++_2s_ays_xl", "StableDiffusionXLTimesteps"),
    ],
)
def test_align_your_steps_are_diffusers_own(name, kind, times):
    oracle = CLASSES[name](**SD)
    oracle.set_timesteps(timesteps=AysSchedules[times])
    sigmas = oracle.sigmas.double().unique().flip(0)
    table = make_table(read_settings(SD, kind), 10)
    assert table.timesteps.tolist() == oracle.timesteps.tolist()
    ours = np.unique(np.concatenate([table.noise / table.signal, [0.0]]))[::-1]
    np.testing.assert_allclose(ours, sigmas, rtol=1e-5, atol=1e-12)


def test_align_your_steps_of_another_number_lie_between():
    published = make_table(read_settings(SD, "euler_ays"), 10)
    twice = make_table(read_settings(SD, "euler_ays"), 20)
    np.testing.assert_allclose(twice.noise_from[::2], published.noise_from, rtol=1e-12)
    logs = np.log(twice.noise_from / twice.signal_from)
    np.testing.assert_allclose(logs[1:-1:2], (logs[:-2:2] + logs[2::2]) / 2)
    long = make_table(read_settings(SD, "unipc_ays"), 200)
    assert (np.diff(long.noise_from) < 0).all()
    with pytest.raises(UserError, match="ays: needs num_train_timesteps = 1000, not 500"):
        make_table(read_settings(SD | {"num_train_timesteps": 500}, "euler_ays"), 10)


def test_beta_quantiles_are_the_distribution_s():
    # Beta(1, 1) is even, Beta(2, 2) has 3 x^2 - 2 x^3 below x; a half is in the middle of any
    shares = np.linspace(0, 1, 21)
    np.testing.assert_allclose(beta_quantiles(shares, 1.0), shares, atol=1e-14)
    x = beta_quantiles(shares, 2.0)
    np.testing.assert_allclose(3 * x**2 - 2 * x**3, shares, atol=1e-14)
    np.testing.assert_allclose(beta_quantiles(np.array([0.5]), 0.6), 0.5)


def test_fresh_noise_is_a_samples_own_and_follows_frame_0():
    generator = torch.Generator().manual_seed(9)
    drawn = [torch.randn(1, 4, 3, 5, generator=generator) for _ in range(4)]
    table = make_table(read_settings(SD, "euler_a"), 4)  # whose last row adds none
    noise = fresh_noise([3, 9], table, 4, 3, 5)
    assert torch.equal(initial_noise([9], 4, 3, 5), drawn[0])
    assert torch.equal(noise[:3, 1], torch.cat(drawn[1:]))
    assert not noise[3].any()


def test_a_walk_that_needs_noise_asks_for_it():
    table = make_table(read_settings(SD, "euler_a"), 3)
    with pytest.raises(ValueError, match="needs fresh noise"):
        next(walk(lambda z, row: z, table, torch.zeros(1, *SHAPE)))


@pytest.mark.parametrize(("name", "tries"), [("heun", [0, 2]), ("dpm2", [0, 2]), ("euler", [])])
def test_rows_that_try_are_told_apart(name, tries):
    table = make_table(read_settings(SD, name), 3)
    assert np.flatnonzero(table.tries).tolist() == tries
    assert np.flatnonzero(table.retakes).tolist() == [row + 1 for row in tries]
    words = {0: "tries", 1: "again", 2: "tries", 3: "again"} if tries else {}
    assert table.marks == [words.get(row, "") for row in range(len(table))]


def test_rows_that_correct_in_passing_are_told_apart():
    config = {**SD, "_class_name": "UniPCMultistepScheduler", "disable_corrector": [1]}
    assert make_table(read_settings(config), 4).marks == ["", "corrects", "", "corrects"]


@pytest.mark.parametrize("prediction", EPS_V)
@pytest.mark.parametrize("kind", [kind for kind in METHODS if kind != "flow_euler"])
def test_the_four_parts_sum_to_the_step_and_each_is_its_terms(kind, prediction):
    settings = read_settings({**SD, "skip_prk_steps": True, "prediction_type": prediction}, kind)
    table = make_table(settings, 6)
    noise = fresh_noise([SEED], table, *SHAPE).double()
    z = torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(1)).double()
    steps = list(walk(lambda z, row: torch.zeros(2, *SHAPE), table, z, 3.0, noise))
    frames = torch.cat([z, *(step.z for step in steps)])
    drive = split_steps(
        frames, torch.cat([step.guidance for step in steps]), table, 3.0, noise[:, 0]
    )
    # a network that returns nothing leaves rescaling and noise alone
    torch.testing.assert_close(drive.rescaling + drive.noise, frames.diff(dim=0))
    torch.testing.assert_close(drive.uncond, torch.zeros_like(drive.uncond), atol=1e-6, rtol=0)
    assert bool(drive.noise.any()) == table.noisy
