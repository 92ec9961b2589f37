"""Names the platform in the wheel's file name. `scripts/wheel` reads it from the program."""

from __future__ import annotations

import os
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PlatformTag(BuildHookInterface):
    """The hook that hatchling runs before it makes the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Sets the tag: any Python 3, and the platform that the program needs."""
        build_data["tag"] = f"py3-none-{os.environ['PGFLIGHT_WHEEL_PLATFORM']}"
        build_data["pure_python"] = False
