"""The front door of a package: public names that are loaded from their modules when somebody asks for them.

Belongs here: finding the module of a name. Does not belong here: any package's list of names (its `__init__`).
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def front_door(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the `__getattr__` of a package.

    Parameters
    ----------
    package : str
        Its name, for the error.
    homes : mapping of str to str
        The module of each public name.

    Returns
    -------
    callable
        Returns a public name; raises `AttributeError` for any other.

    Examples
    --------
    >>> front_door("geometry", {"pi": "math"})("pi")
    3.141592653589793
    """

    def find(name: str) -> Any:
        if name not in homes:
            msg = f"module {package!r} has no attribute {name!r}"
            raise AttributeError(msg)
        return getattr(import_module(homes[name]), name)

    return find
