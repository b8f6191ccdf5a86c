"""One file per network with its frozen `RECIPE`: `build(clip_shape, num_classes)`."""
