"""What are generated images worth for training vision models, and how to make them worth more."""

import warnings
from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("synthbook")
except PackageNotFoundError:  # imported from a source tree that is not installed
    __version__ = "0+unknown"

# tqdm says so on every import inside a kernel without ipywidgets; chapters show progress otherwise.
warnings.filterwarnings("ignore", message="IProgress not found")
