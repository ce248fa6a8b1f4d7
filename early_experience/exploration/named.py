"""Makes the proposers that `config.explore.proposers` names."""

from collections.abc import Callable

from ml_collections import ConfigDict

from early_experience.experience.answer_format import find_format
from early_experience.exploration import proposers, served
from early_experience.language.model import LanguageModel


def named_proposer(
  name: str, config: ConfigDict, workdir: str, agent: Callable[[], object]
) -> proposers.Proposer:
  """The proposer of a name in `config.explore.proposers`.

  Args:
    name: of the proposer.
    config: of the stage.
    workdir: likewise.
    agent: loads that of `config.explore.policy`.

  Raises:
    UserError: the language model that it asks cannot be used, or what `agent`
      raises.
  """
  if name == 'uniform':
    return proposers.Uniform(config.seed)
  if name == 'recalled':
    return proposers.Recalled(config.seed)
  if name == 'exhaustive':
    return proposers.Exhaustive()
  if name == 'openai':
    return served.Served(
      LanguageModel(config.explore.openai, 'config.explore.openai', workdir),
      find_format(config.prepare.answer_format),
      config.explore.openai.system,
      config.explore.openai.prompt,
    )
  return proposers.Policy(agent(), config.explore.temperature, config.seed)
