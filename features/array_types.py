"""Names for the types of arrays.

Belongs here: one name for each element type that the packages pass around. Does not belong here: shapes, which the
docstrings state.
"""

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
ByteArray = npt.NDArray[np.uint8]
