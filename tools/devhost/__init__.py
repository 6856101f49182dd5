"""The ComfyUI that ``tools/demo.py``, ``tools/test.py`` and the tests run on.

It is the development host, a private ComfyUI installed from the package registry, or a ComfyUI that exists already and
is borrowed: ``--comfyui FOLDER``. This package links the checkout into it. Users of the pack need neither. The package
uses only the standard library, because it runs before anything is installed.
"""

from .borrowed import add_options, use
from .build import ensure
from .layout import CHECKOUT, PACK, Host, HostError, enter, is_inside, locate

__all__ = ["CHECKOUT", "PACK", "Host", "HostError", "add_options", "ensure", "enter", "is_inside", "locate", "use"]
