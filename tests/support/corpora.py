"""Where third-party test data is; tests that need it skip, saying so, where it is absent."""

import os
from pathlib import Path

import pytest


def corpora(folder: str) -> Path:
    """That folder of the corpora; skips the test (or module) when it is not on this machine."""
    root = Path(os.environ.get("GATEKEEPER_CORPORA") or Path(__file__).parents[3] / "shared" / "corpora")
    path = root / folder
    if not path.is_dir():
        pytest.skip(f"test data not here: {path} (set GATEKEEPER_CORPORA)", allow_module_level=True)
    return path
