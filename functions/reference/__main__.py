"""python -m reference FILE: writes the document there."""

from __future__ import annotations

import sys
from pathlib import Path

from reference.document import text

Path(sys.argv[1]).write_text(text())
