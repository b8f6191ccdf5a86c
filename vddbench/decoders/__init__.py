"""One file per way of storing clips: `decode(tensors, spec)`."""
