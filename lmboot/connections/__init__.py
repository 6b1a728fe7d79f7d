import sys

# httpx imports its own command line (click, rich, pygments), which takes three times as long as
# httpx itself, and does without where that is not installed: here it counts as not installed.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type] # None is what stops it
