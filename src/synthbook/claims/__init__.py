"""The claims of the studies: what a check may say, and what the rows decide."""
