"""Read while the component is built, so that it is a part of it."""

from pathlib import Path

WORD = (Path(__file__).parent / "word.txt").read_text().strip()
