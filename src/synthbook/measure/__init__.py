"""How good generated images are: fidelity, copying, the gap to real images, filters."""
