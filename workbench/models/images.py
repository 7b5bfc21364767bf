"""The type of pictures."""

import numpy as np
from jaxtyping import UInt8

Images = UInt8[np.ndarray, "images image_height image_width 3"]
