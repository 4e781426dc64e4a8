"""What is taken from diffusers and transformers, imported in one go.

Both import a class only when it is first asked for, and fail when two threads ask at the same time.
Of this module Python lets one thread import everything, and the others wait.
"""

from diffusers import AutoencoderKL as AutoencoderKL
from diffusers import UNet2DConditionModel as UNet2DConditionModel
from transformers import CLIPTextConfig as CLIPTextConfig
from transformers import CLIPTextModel as CLIPTextModel
from transformers import CLIPTokenizer as CLIPTokenizer
