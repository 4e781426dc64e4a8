"""Microsoft's Fluent 3D emoji (MIT), from the npm package that carries them as 256 px pictures."""

from __future__ import annotations

import json
import subprocess
import tarfile
import tempfile
from pathlib import Path

PACKAGE = "@lobehub/fluent-emoji-3d@1.1.0"


def fetch_emoji(folder: Path) -> None:
    """Fill `folder` with the emoji pictures, unless it is there already.

    Raises:
        subprocess.CalledProcessError: if npm is missing its registry or the package.
    """
    if folder.exists():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        packed = subprocess.run(
            ["npm", "pack", PACKAGE, "--json"],
            cwd=scratch,
            check=True,
            capture_output=True,
            text=True,
        )
        archive = Path(scratch) / json.loads(packed.stdout)[0]["filename"]
        with tarfile.open(archive) as tar:
            tar.extractall(scratch, filter="data")
        (Path(scratch) / "package" / "assets").rename(folder)
