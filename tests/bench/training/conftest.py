"""What learns and measures needs scikit-learn (`make .venv/.training`, as `make test` does): without it, not these."""

from importlib.util import find_spec

collect_ignore = (
    [] if find_spec("sklearn") else ["test_detection.py", "test_learn.py", "test_model.py", "test_tables.py"]
)
