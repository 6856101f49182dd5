"""SVG optimization: drawings as parameters, tracing, styles, losses and learning rates. Pure torch, no ComfyUI.

    style = ART_STYLES["iconography"]                       # styles: what new drawings are made of
    tracer = Tracer(images, TracingSettings())              # tracing: fits drawings to images (LIVE)
    *_, last = tracer.trace(style, style.path_count, [torch.Generator()])
    batch = DrawingBatch(last.drawings, vae_encode)         # drawing: the generator z0 = g(theta)
    optimizer = style.rates.adam(batch.parameter_groups)    # optimizer: learning rates, and Adam's state by path

`tasks` holds the papers' settings of the four SVG tasks, `loss_terms` the losses that a task adds to score
distillation, `reinitialization` the restart of dead paths, and `augmentation` the random views of a drawing. `regions`,
`triangles` and `brush_strokes` trace an image without optimization, and `cleaning` makes optimized drawings as a
designer would keep them.
"""
