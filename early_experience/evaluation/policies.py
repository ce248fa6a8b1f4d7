"""The policy that `config.evaluate` names, and how long it thinks."""

import pathlib

from ml_collections import ConfigDict

from early_experience.evaluation import look_ahead, rollouts, served, voting
from early_experience.experience import records
from early_experience.runtime import stage
from early_experience.runtime.errors import UserError

# Policies without parameters of a run: they need no stage before this one.
NOT_OURS = ('random', 'served')


def check_samples(how: ConfigDict) -> None:
  """Of `config.evaluate`.

  Raises:
    UserError: several samples could not differ, or not be looked ahead from.
  """
  if how.policy == 'served':
    hot, key = served.samples_differ(how.openai), 'openai.temperature'
  else:
    hot, key = how.temperature or how.policy == 'random', 'temperature'
  if how.look_ahead and (how.samples == 1 or how.policy in NOT_OURS):
    raise UserError(
      'config.evaluate.look_ahead=True chooses among several samples of a model'
      f' of ours: not with samples={how.samples} and policy={how.policy!r}'
    )
  if how.samples > 1 and not hot:
    raise UserError(
      f'config.evaluate.samples={how.samples} are all alike: set'
      f' config.evaluate.{key} above 0'
    )


def load(
  config: ConfigDict,
  workdir: str,
  slots: int,
  folder: pathlib.Path,
  tasks: int,
  confirmed: bool,
) -> rollouts.Policy:
  """The policy.

  Args:
    config: all of it.
    workdir: of the run.
    slots: decisions, or samples of them, side by side.
    folder: of the evaluation, which may have been begun.
    tasks: to be played in all.
    confirmed: the user said --yes.

  Raises:
    UserError: a stage is missing, or a setting is wrong.
  """
  how = config.evaluate
  if how.policy == 'random':
    return rollouts.RandomPolicy(config.seed)
  if how.policy == 'served':
    return served.load(config, workdir, folder, tasks, confirmed)
  # JAX: processes do without.
  from early_experience.evaluation import agent, loading

  decoding = agent.Decoding.of(how, config.seed)
  return loading.load_agent(
    config, workdir, how.policy, config.name, decoding, slots
  )


def longer(
  policy: rollouts.Policy, config: ConfigDict, workdir: str
) -> rollouts.Policy:
  """The policy as `config.evaluate.samples` has it decide."""
  how = config.evaluate
  if how.samples == 1:
    return policy
  ahead = None
  if how.look_ahead:
    ahead = look_ahead.LookAhead(
      policy,
      look_ahead.rejections(records.read(explored(config, workdir))),
      config.prepare.world_model,
      how.max_outcome_tokens,
    )
  return voting.Voting(policy, how.samples, ahead)


def explored(config: ConfigDict, workdir: str) -> pathlib.Path:
  """The experience; where nothing was explored, the expert's own."""
  name = 'summarise' if config.summarise.enabled else 'explore'
  folder = pathlib.Path(workdir) / name
  done = stage.finished(folder) is not None
  return folder if done else stage.require(workdir, 'collect')
