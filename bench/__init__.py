"""Measurements: run `python -m bench`. The engine's layer is put on the path here, as the Lambda runtime does."""

import sys
from pathlib import Path

LAYERS = Path(__file__).parents[1] / "layers"

sys.path[:0] = [str(LAYERS / layer / "python") for layer in ("core", "engine") if (LAYERS / layer).is_dir()]
