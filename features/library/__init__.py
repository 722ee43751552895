"""The features themselves, one module for each group.

Belongs here: formulas with their names, units, warm-ups, ranges and sources. Does not belong here: how they are
computed (`features.engine`), loops (`features.kernels`). A module's features are listed in the order of their code.
"""
