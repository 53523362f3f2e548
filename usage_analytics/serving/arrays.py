"""Names of the arrays that serving is made of: decisions reckon with 64 bits, look-ups of many moments with 32."""

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Reals = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]
