"""A sampling method in writing: its facts, and the table of its rows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from sdloop.sampler.methods import METHODS, make_table
from sdloop.sampler.methods.method import Method
from sdloop.sampler.settings import SchedulerSettings
from sdloop.sampler.table import Table

EQUATION = (
    "kept[r]  = p z_r + q output_r",
    "z_{r+1}  = a frames[base] + b sum_k w_k kept[k] + c noise",
)
LETTERS = (
    "s, n: the signal and the noise in the frame that the row starts from",
    "s', n': in the frame that it leads to",
    "sigma = n / s, lambda = ln(s / n), h = lambda' - lambda",
)
KEPT = {
    "output": "what the network returned",
    "eps": "eps, the noise that the output means",
    "z0": "z0, the clean latent that the output means",
}
COLUMNS = ("a", "b", "w", "c", "base")
DIGITS = 5


def explain(settings: SchedulerSettings, num_steps: int) -> str:
    """Describe a method: its facts, its equation, what the letters in it mean, its rows.

    Args:
        settings: The scheduler's; `settings.kind` names the method.
        num_steps: How many steps its table shows.

    Returns:
        Lines of text, the last without a line end.

    Raises:
        UserError: The method has no table with this number of steps.
    """
    method, table = METHODS[settings.kind], make_table(settings, num_steps)
    names = ", ".join((method.name, *method.aliases))
    spread = "" if settings.sigmas == "trained" else f", sigmas {settings.sigmas}"
    facts = {
        "in diffusers": method.scheduler,
        "first in": method.source,
        "keeps": KEPT[_kept(table, method)],
        "order": method.order,
        "calls": f"{method.calls} for N steps; here {len(table)} for {num_steps}",
        "deterministic": _determined(table, method),
        "levels": settings.timestep_spacing + spread,
        "predicts": settings.prediction_type,
    }
    formula = {key: getattr(method.formula, key) for key in COLUMNS}
    letters = filter(None, (*LETTERS, method.formula.letters))
    parts = ([names], _listed(facts), EQUATION, _listed(formula), letters, _aligned(_rows(table)))
    return "\n\n".join("\n".join(part) for part in parts)


def method_tables() -> str:
    """Return the two Markdown tables of all methods that this room's README.md holds."""
    grouped: dict[tuple[str, ...], list[str]] = {}
    for method in METHODS.values():
        grouped.setdefault((method.keeps, *method.formula), []).append(method.name)
    coefficients = [
        [", ".join(f"`{name}`" for name in names), keeps, *map(_code, (a, b, w, c)), base]
        for (keeps, a, b, w, c, base, _), names in grouped.items()
    ]
    facts = [
        [
            ", ".join(f"`{name}`" for name in (method.name, *method.aliases)),
            method.order,
            method.calls,
            "yes" if method.noise == "never" else f"no: noise {method.noise}",
            method.source,
            f"`{method.scheduler}`",
        ]
        for method in METHODS.values()
    ]
    own = {method.formula.letters: method.name for method in METHODS.values()}
    letters = [*LETTERS, *(f"{text} (`{name}`)" for text, name in own.items() if text)]
    return "\n".join(
        [
            *_markdown(["method", "keeps", "a", "b", "w, newest first", "c", "base"], coefficients),
            "",
            *(f"- {line}" for line in letters),
            "",
            *_markdown(
                ["method", "order", "calls", "deterministic", "first in", "in diffusers"], facts
            ),
        ]
    )


def _kept(table: Table, method: Method) -> str:
    """Return what a table's rows keep: the method's `keeps`, unless its settings change that."""
    kinds = {
        "z0": (table.z0_from_z, table.z0_from_output),
        "eps": (table.eps_from_z, table.eps_from_output),
        "output": (0, 1),
    }
    for kind in (method.keeps, *kinds):
        p, q = kinds[kind]
        if (table.p == p).all() and (table.q == q).all():
            return kind
    raise AssertionError("a table keeps one of these")


def _determined(table: Table, method: Method) -> str:
    """Say whether frame 0 and the network alone determine the frames."""
    if table.noisy:
        return f"no: fresh noise {method.noise}"
    return "yes" if method.noise == "never" else f"yes; fresh noise {method.noise} alone"


def _rows(table: Table) -> list[list[str]]:
    """Write the header and every row of a table."""
    columns = {"row": range(len(table)), "asked at": table.timesteps, "s": table.signal_from}
    columns |= {"n": table.noise_from, "s'": table.signal_to, "n'": table.noise_to}
    columns |= {"p": table.p, "q": table.q, "base": table.base, "a": table.a, "b": table.b}
    columns |= {"c": table.c} if table.noisy else {}
    cells = [[_number(value) for value in column] for column in columns.values()]
    mixtures = [_mixture(weights) for weights in table.w]
    marks = table.marks
    head = [*columns, "sum_k w_k kept[k]", ""]
    return [head, *([*row] for row in zip(*cells, mixtures, marks, strict=True))]


def _mixture(weights: Sequence[float]) -> str:
    """Write a weighted sum, newest first."""
    text = ""
    for source in reversed(range(len(weights))):
        weight = weights[source]
        if not weight:
            continue
        sign = ("- " if weight < 0 else "+ ") if text else ("-" if weight < 0 else "")
        size = "" if abs(weight) == 1 else f"{_number(abs(weight))} "
        text += f"{' ' if text else ''}{sign}{size}kept[{source}]"
    return text


def _number(value: float) -> str:
    """Write a number with five significant digits."""
    return f"{value:.{DIGITS}g}"


def _listed(values: dict[str, str]) -> list[str]:
    """Write names and what they stand for, in two columns."""
    width = max(map(len, values)) + 2
    return [f"{name:<{width}}{value}" for name, value in values.items()]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Write cells in columns, flush right but for the last two."""
    widths = [max(map(len, column)) for column in zip_longest(*rows, fillvalue="")]
    lines = []
    for row in rows:
        right = [cell.rjust(width) for cell, width in zip(row[:-2], widths, strict=False)]
        lines.append("  ".join([*right, row[-2].ljust(widths[-2]), row[-1]]).rstrip())
    return lines


def _code(text: str) -> str:
    """Set a formula as code; leave words as they are."""
    return text if text.startswith("the ") else f"`{text}`"


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Write a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(cells) + " |" for cells in lines]
