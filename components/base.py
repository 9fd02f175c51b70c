"""How every component is declared: our image, which has kfp in it."""

from collections.abc import Callable
from typing import Any

from kfp import dsl

from pipelines.settings import IMAGE


def component(function: Callable[..., Any]) -> Any:
    """Make a component of a function: it runs in our image, and installs nothing."""
    return dsl.component(function, base_image=IMAGE, install_kfp_package=False)
