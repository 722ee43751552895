"""What the texts of all genomes have in common: their name, their declared numbers, the line that is read back.

Belongs here: parts of code generation that are the same for strategies and books. Does not belong here: the texts
themselves (`strategies.search.map_elites.code_generation`, `strategies.search.books.code_generation`).
"""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

SHORT: Final = "In short: "
"""Before the line of a docstring that holds the genome."""


def unique_name(stem: str, key: str, taken: Collection[str]) -> str:
    """Return a stem and some digits of a key's hash, different from the names taken: `fade_rsi_1m_3fa2`.

    Parameters
    ----------
    stem : str
        How the name begins.
    key : str
        Text that tells what it names from any other.
    taken : collection of str
        Names that are not free.

    Returns
    -------
    str
        With four digits, or as many more as it takes.

    Raises
    ------
    ValueError
        If every such name is taken.
    """
    digest = hashlib.sha256(key.encode()).hexdigest()
    for length in range(4, 17):
        name = f"{stem}_{digest[:length]}"
        if name not in taken:
            return name
    msg = f"{stem}: every name of this strategy is taken; it has been designed before"
    raise ValueError(msg)


def short_line(description: str) -> str | None:
    """Return the genome's line of a docstring; None where there is none."""
    lines = [line for line in description.split("\n") if line.startswith(SHORT)]
    return lines[0].removeprefix(SHORT) if lines else None


@dataclass
class Declared:
    """The numbers that a tuner may move.

    Attributes
    ----------
    parameters : dict of str to str
        Text of each parameter by its name, in the order of the text.
    slots : dict of str to (str, int)
        The part of the genome that each stands for, and its place.
    """

    parameters: dict[str, str] = field(default_factory=dict)
    slots: dict[str, tuple[str, int]] = field(default_factory=dict)

    def declare(self, part: str, place: int, default: float, low: float, high: float, of: str = "") -> str:
        """Declare the parameter of a part of the genome and return its name.

        Parameters
        ----------
        part : str
            What it is a number of.
        place : int
            Which one, where there are several.
        default, low, high : float
            Its value and range; whole where all three are.
        of : str
            What the part belongs to, for the name.

        Returns
        -------
        str
            Name of the parameter.
        """
        stem = f"{of}_{part}" if of else part
        key = f"{stem}_{place}" if stem in self.parameters else stem
        whole = all(isinstance(number, int) for number in (default, low, high))
        numbers = (default, low, high) if whole else tuple(map(float, (default, low, high)))
        self.parameters[key] = f"Param({', '.join(map(repr, numbers))})"
        self.slots[key] = (part, place)
        return key
