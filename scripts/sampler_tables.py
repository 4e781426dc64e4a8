"""Writes the tables of all methods into the sampler's README, between their two marks.

python scripts/sampler_tables.py
"""

import re
from pathlib import Path

from sdloop.sampler.explain import method_tables

README = Path(__file__).parents[1] / "sdloop/sampler/README.md"
MARKS = "<!-- methods -->", "<!-- end of methods -->"


def main() -> None:
    """Replace what stands between the marks."""
    begin, end = MARKS
    block = f"{begin}\n\n{method_tables()}\n\n{end}"
    pattern = re.escape(begin) + ".*" + re.escape(end)
    text = README.read_text(encoding="utf-8")
    README.write_text(re.sub(pattern, lambda _: block, text, flags=re.DOTALL), encoding="utf-8")


if __name__ == "__main__":
    main()
