"""Numbers of a run: pictures, differences and latents -> measures."""
