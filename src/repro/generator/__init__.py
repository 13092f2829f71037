"""A small text-to-image latent diffusion model, trained here and packed as diffusers expects it.

Stable Diffusion in small, of the same classes: an autoencoder, a text encoder with its own
tokenizer, a conditional UNet and a scheduler (Rombach et al., 2022). In reading order:

- `repro.generator.settings`: sizes and schedules.
- `repro.generator.corpus`: images and what can be said of them.
- `repro.generator.trainer`: the loop that both trainings share; resumable.
- `repro.generator.autoencoder`: images to latents and back.
- `repro.generator.diffusion`: from noise and a caption to latents.
- `repro.generator.package`: the folder that `diffusers` loads.
- `repro.generator.card`: what is to be known of its data, licences and limits.
- `repro.generator.recipe`: all of it in one call.
- `repro.generator.oracle`, `repro.generator.quality`: what it drew, and how good that is.
"""
