"""Recognition models: classifiers by name, one training loop, and what is read off them."""
