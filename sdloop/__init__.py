"""Stable Diffusion's sampling loop by hand: every step kept, decoded and shown.

A whole run, from a config to its folder:

    config = sdloop.load_config("configs/astronaut.yaml", ["seed=3"])
    folder = sdloop.Runner().run(sdloop.prepare(config))
    folder.trajectory.latents                                      # (rows + 1, 4, 16, 16)

The same in parts:

    source = sdloop.find("bundled")
    models = sdloop.load(source, *sdloop.choose_device("auto", "auto", source.count_weights))
    table = sdloop.make_table(sdloop.read_settings(source.scheduler), num_steps=50)
    embeddings = sdloop.encode_prompts(models.tokenizer, models.text_encoder, ["a panda"], [""])
    z = sdloop.initial_noise([0], 4, 16, 16)
    denoised = sdloop.denoise(models.unet, table, z, embeddings, guidance_scale=7.5)
    images = sdloop.decode_latents(models.vae, denoised.latents[:, 0])
    maps = sdloop.difference_maps(images)

`__init__.pyi` lists the names; each is imported from its room when it is first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
