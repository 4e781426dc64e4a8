"""Numbers of a run: pictures, differences and latents -> measures.

Pictures are measured where they are. What is computed in float64 is moved to the CPU first, as
Apple's GPUs (mps) have no float64.
"""

ROWS_AT_ONCE = 16  # of the pictures of a long run, so that measuring takes a bounded memory
