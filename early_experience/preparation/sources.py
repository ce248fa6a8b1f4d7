"""Which data rows are made of: trajectories of this run, or imported chats."""

from ml_collections import ConfigDict

from early_experience.preparation.chats import IMPORT, Chats
from early_experience.preparation.interface import Source
from early_experience.preparation.trajectories import Trajectories


def find(workdir, settings: ConfigDict, summarised: bool) -> Source:
  """The source that `config.prepare` asks for.

  Args:
    workdir: of the run.
    settings: `config.prepare`.
    summarised: the world model learns summaries of outcomes.

  Raises:
    UserError: what it takes is not there yet; the message has the command.
  """
  if settings.source == IMPORT:
    return Chats(workdir, settings.row_tokens)
  return Trajectories(workdir, settings, summarised)
