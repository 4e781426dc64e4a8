"""Figures as a Markdown table, and as the model's card."""

from __future__ import annotations

import json
from pathlib import Path

from .settings import HERE

ROWS = {
    "samples_seen": "samples seen",
    "choice_share": "choice: RMSE between seeds, % of the data's",
    "spread_share": "spread of the object's middle, % of the data's",
    "object": "object %",
    "place": "place %",
    "hat": "hat %",
    "pair": "both of two %",
    "side": "left or right %",
    "unseen": "unseen: object and place %",
    "clean": "accepted as clean %",
    "vae_psnr_db": "VAE, dB",
}


def print_table(folder: Path) -> None:
    """All figures in `folder` as a Markdown table, a column a model."""
    models = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
    print("| |", " | ".join(models), "|")
    print("|---|" + "---|" * len(models))
    for key, name in ROWS.items():
        cells = (_cell(figures.get(key)) for figures in models.values())
        print(f"| {name} |", " | ".join(cells), "|")


def _cell(value: float | None) -> str:
    """A figure as a table shows it."""
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:.1f}"


def write_card(figures: dict[str, object], folder: Path) -> None:
    """The model's card, with its figures, in the model's folder."""
    card = (HERE / "card.md").read_text()
    (folder / "README.md").write_text(card.format(**figures))
