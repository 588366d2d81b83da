"""Image generators that are guided by a class or a text, and what is drawn from them."""
