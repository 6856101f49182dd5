"""The development host: a private ComfyUI, installed from the package registry, with this pack linked into it.

``tools/demo.py``, ``tools/test.py`` and the tests run on it. Users have their own ComfyUI and do not need it. This
package uses only the standard library, because it runs before anything is installed.
"""

from .build import ensure
from .layout import CHECKOUT, Host, HostError, enter, is_inside, locate

__all__ = ["CHECKOUT", "Host", "HostError", "ensure", "enter", "is_inside", "locate"]
