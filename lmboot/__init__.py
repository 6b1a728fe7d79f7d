"""lmboot turns a local language model into a running, sandboxed program."""

__version__ = "0.1.0"
