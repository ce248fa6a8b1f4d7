"""Agent learning via early experience (arXiv 2510.08558), in JAX."""

import sys

# So Python names itself while it looks for the module of `python -m`: a command
# hears who asks it to stop from before its imports, a library changes nothing.
if sys.argv[:1] == ['-m'] and any(
  word.startswith(__name__) for word in sys.orig_argv
):
  from early_experience.runtime import large_pages, process

  large_pages.ask()
  process.start()
