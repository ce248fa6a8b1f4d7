"""Groups of episodes: each task played several times by one policy.

Each episode's chance depends on the seed, the iteration, the task and its
number in the group alone. Where there are several processes, each plays its
share of the episodes with the parameters on its own devices: a decoder gathers
them for every call anyway, and so no episode waits for those elsewhere.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from early_experience.envs.interface import Task
from early_experience.evaluation import rollouts
from early_experience.evaluation.agent import Agent, Decoding
from early_experience.evaluation.decisions import Decision, Said
from early_experience.model import sharding
from early_experience.model.config import ModelConfig
from early_experience.reinforcement import members
from early_experience.reinforcement.handover import Server
from early_experience.reinforcement.served import Served
from early_experience.runtime import distributed
from early_experience.tokenizers.interface import Tokenizer
from early_experience.work import hosts
from early_experience.work.units import Failure


def drawn(
  tasks: Sequence[Task], count: int, iteration: int, seed: int
) -> list[Task]:
  """The tasks of an iteration: no two alike, shuffled anew in each epoch.

  Args:
    tasks: all that there are; what is left over in an epoch waits for others.
    count: of an iteration; at most as many as there are.
    iteration: from 0.
    seed: of the shuffles.
  """
  epoch, place = divmod(iteration, len(tasks) // count)
  order = np.random.default_rng((seed, epoch)).permutation(len(tasks))
  return [tasks[i] for i in order[place * count : (place + 1) * count]]


class Sampler:
  """Plays tasks with a policy that changes between calls.

  Args:
    seats: of `members`, with environments.
    config: `evaluate` says how a policy acts.
    cfg: of the model.
    tokenizer: of the model.
    mesh: that holds the parameters.
    slots: episodes side by side.
    server: that samples in place of our own decoder.
  """

  def __init__(
    self,
    seats: hosts.Hosts | hosts.Here,
    config: ConfigDict,
    cfg: ModelConfig,
    tokenizer: Tokenizer,
    mesh: Mesh,
    slots: int,
    server: Server | None = None,
  ):
    self._server = server
    self._seats, self._config, self._slots = seats, config, slots
    self._cfg, self._tokenizer = cfg, tokenizer
    self._own_mesh = sharding.own_mesh(mesh)

  def group_records(
    self, params: dict, tasks: Sequence[Task], size: int, iteration: int
  ) -> list[dict]:
    """Plays every task `size` times at temperature 1.

    Args:
      params: of the policy, all of the parameter table.
      tasks: of the iteration.
      size: of a group.
      iteration: all that chance depends on, beside seed, task and member.

    Returns:
      A record of each episode, of all processes in each of them: as `evaluate`
      has it, with `member`, and in each step what was `said`; or `task_id`,
      `member`, and `reason` and `error` of what kept it from its end.
    """
    seed, found = f'{self._config.seed}/{iteration}', []
    policy = _Noted(self._policy(params, seed, 1.0))
    for member, result in self._play(members.of_group(tasks, size), policy):
      task, number = members.named(member.id)
      named = {'task_id': task, 'member': number}
      if isinstance(result, Failure):
        found.append(named | dataclasses.asdict(result))
        continue
      for i, step in enumerate(result['steps']):
        step['said'] = [
          plain(said) for said in policy.said.pop(f'{member.id}/{i}')
        ]
      found.append(result | named)
    return of_all(found)

  def panel_records(self, params: dict, tasks: Sequence[Task]) -> list[dict]:
    """Plays every task once, as `config.evaluate` says.

    Returns:
      The records of the episodes that came to an end.
    """
    how = self._config.evaluate
    policy = self._policy(params, self._config.seed, how.temperature)
    played = self._play(members.of_group(tasks, 1), policy)
    return of_all(
      [
        one | {'task_id': members.named(member.id)[0]}
        for member, one in played
        if not isinstance(one, Failure)
      ]
    )

  def _policy(self, params, seed, temperature):
    how = self._config.evaluate
    decoding = Decoding.of(how, seed, temperature=temperature)
    if self._server:
      self._server.hand_over(params)
      most = self._cfg.max_tokens
      return Served(self._server.client, self._tokenizer, most, decoding)
    # Anew each time: what a cache holds was read by other parameters.
    own = sharding.own_copy(params, self._own_mesh)
    return Agent(
      own, self._cfg, self._tokenizer, self._own_mesh, decoding, self._slots
    )

  def _play(self, tasks, policy):
    """This process's share."""
    own = distributed.share(tasks)
    return rollouts.run(
      own,
      self._seats,
      policy,
      slots=min(self._slots, len(own)),
      max_steps=self._config.evaluate.max_steps,
      tries=self._config.cluster.tries,
    )


class _Noted:
  """A policy, and what it said, by the key of each request."""

  def __init__(self, policy):
    self._policy, self.lists = policy, policy.lists
    self.said: dict[str, tuple[Said, ...]] = {}

  def act(self, requests):
    decisions = self._policy.act(requests)
    for request, decision in zip(requests, decisions, strict=True):
      if request and isinstance(decision, Decision):
        self.said[request.key] = decision.said
    return decisions


def of_all(found: list[dict]) -> list[dict]:
  """The records of all processes, in each of them."""
  return [record for some in distributed.gathered(found) for record in some]


def plain(said: Said) -> dict:
  """What was said as JSON values; without what is not known of it."""
  values = dataclasses.asdict(said)
  return {key: value for key, value in values.items() if value is not None}
