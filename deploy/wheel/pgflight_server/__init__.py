"""The pgflight server, installed by pip."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path


def program() -> Path:
    """Returns the path of the program `pgflight`.

    Raises:
        FileNotFoundError: when the environment that imported this module has none.
    """
    places = [
        sysconfig.get_path("scripts"),
        sysconfig.get_path("scripts", scheme=f"{os.name}_user"),
        # `pip install --target` puts scripts beside packages.
        Path(__file__).resolve().parents[1] / "bin",
    ]
    for place in places:
        path = Path(place) / "pgflight"
        if path.is_file():
            return path
    raise FileNotFoundError("the package pgflight-server is installed without its program")


def main() -> None:
    """Becomes the program, with the arguments of this process."""
    path = str(program())
    os.execv(path, [path, *sys.argv[1:]])
