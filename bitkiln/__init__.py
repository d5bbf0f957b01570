"""bitkiln fires a trained PyTorch network into hardware, bit-exact against one golden model."""

__version__ = "0.1.0"
