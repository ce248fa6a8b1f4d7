"""Makes the proposers that `config.explore.proposers` names."""

import pathlib

from ml_collections import ConfigDict

from early_experience.experience.answer_format import find_format
from early_experience.exploration import proposers, served
from early_experience.language.model import LanguageModel
from early_experience.runtime.errors import UserError


def named_proposer(
  name: str, config: ConfigDict, workdir: str
) -> proposers.Proposer:
  """The proposer of a name in `config.explore.proposers`.

  Raises:
    UserError: the language model that it asks cannot be used, or the policy is
      not there.
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
  return proposers.Policy(
    _agent(config, workdir), config.explore.temperature, config.seed
  )


def _agent(config, workdir):
  """The agent of `config.explore.policy`, a training folder."""
  if not config.explore.policy:
    raise UserError(
      'config.explore.policy is empty: name the training (train/NAME below'
      ' --workdir, or the path of another) whose policy proposes'
    )
  from early_experience.evaluation import agent  # JAX, which others do without

  path = pathlib.Path(workdir, config.explore.policy)
  decoding = agent.Decoding(
    seed=config.seed, max_action_tokens=config.evaluate.max_action_tokens
  )
  return agent.load(
    config,
    str(path.parent.parent),
    'trained',
    path.name,
    decoding,
    config.evaluate.batch_tasks,
  )
