"""The development host: a private ComfyUI, built from the package registry alone, with this pack linked into it.

Users have their own ComfyUI and need none of this. It serves ``tools/demo.py``, ``tools/test.py`` and the tests.
Standard library only, because it runs before anything is installed.
"""

from .build import ensure
from .layout import CHECKOUT, Host, HostError, enter, is_inside, locate

__all__ = ["CHECKOUT", "Host", "HostError", "ensure", "enter", "is_inside", "locate"]
