"""What texts of strategies import from here; the class itself lives in `strategies.language.strategy`.

Belongs here: nothing more. The library, stored designs and prompts name this module.
"""

from strategies.language.strategy import Features, Param, Signal, Strategy

__all__ = ["Features", "Param", "Signal", "Strategy"]
