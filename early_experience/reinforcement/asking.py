"""Groups of answers: each question answered several times by one policy.

As `sampling` has it of episodes, an answer's chance depends on the seed, the
iteration, the question and its number in the group alone.
"""

import dataclasses
from collections.abc import Sequence

from jax.sharding import Mesh
from ml_collections import ConfigDict

from early_experience.evaluation.agent import Agent, Decoding
from early_experience.evaluation.decisions import Decision, Request
from early_experience.model import sharding
from early_experience.model.config import ModelConfig
from early_experience.reinforcement import sampling
from early_experience.reinforcement.questions import Question
from early_experience.runtime import distributed
from early_experience.tokenizers.interface import Tokenizer
from early_experience.work.units import Failure


class Asker:
  """Asks questions of a policy that changes between calls.

  In the place of a `sampling.Sampler`, and with its arguments.
  """

  def __init__(
    self,
    config: ConfigDict,
    cfg: ModelConfig,
    tokenizer: Tokenizer,
    mesh: Mesh,
    slots: int,
  ):
    self._config, self._slots = config, slots
    self._cfg, self._tokenizer = cfg, tokenizer
    self._own_mesh = sharding.own_mesh(mesh)

  def group_records(
    self, params: dict, questions: Sequence[Question], size: int, iteration: int
  ) -> list[dict]:
    """Asks every question `size` times at temperature 1.

    Returns:
      A record of each answer, of all processes in each of them: an episode of
      one step, with the `script` that was read, what would have been `right`,
      `success` and `score`.
    """
    seed = f'{self._config.seed}/{iteration}'
    asked = [(question, i) for question in questions for i in range(size)]
    return self._records(self._agent(params, seed, 1.0), asked)

  def panel_records(
    self, params: dict, questions: Sequence[Question]
  ) -> list[dict]:
    """Asks every question once, at `config.evaluate.temperature`.

    Returns:
      The records of the answers that there were.
    """
    heat, seed = self._config.evaluate.temperature, self._config.seed
    asked = [(question, 0) for question in questions]
    found = self._records(self._agent(params, seed, heat), asked)
    return [record for record in found if 'reason' not in record]

  def _agent(self, params, seed, temperature):
    # Whoever chooses among actions says one of them, however it plays.
    how = self._config.evaluate
    decoding = Decoding.of(how, seed, temperature=temperature, constrained=True)
    own = sharding.own_copy(params, self._own_mesh)
    return Agent(
      own, self._cfg, self._tokenizer, self._own_mesh, decoding, self._slots
    )

  def _records(self, agent, asked):
    """Of this process's share, and of the others'."""
    asked, found = distributed.share(asked), []
    for first in range(0, len(asked), self._slots):
      some = asked[first : first + self._slots]
      requests = [
        Request(f'{question.id}#{member}', question.script, question.options)
        for question, member in some
      ]
      if some[0][0].options:
        answers = _chosen(agent, requests)
      else:
        most = self._config.evaluate.max_outcome_tokens
        answers = agent.predict(requests, most)
      for (question, member), answer in zip(some, answers, strict=True):
        named = {'task_id': question.id, 'member': member}
        found.append(named | self._record(question, answer))
    return sampling.of_all(found)

  def _record(self, question, answer):
    if isinstance(answer, Failure):
      return dataclasses.asdict(answer)
    text = answer.action
    score = 0.0 if text is None else question.score(text)
    success = score >= self._config.rl.match
    step = {
      'thought': answer.thought,
      'action': text,
      # One that was cut off is no answer.
      'valid': success or not self._is_cut(answer),
      'said': [sampling.plain(said) for said in answer.said],
    }
    return {
      'split': question.split,
      'task_type': question.type,
      'script': [[turn.role, turn.text] for turn in question.script],
      'right': question.right,
      'success': success,
      'score': score,
      'end': answer.why if text is None else 'done',
      'steps': [] if text is None else [step],
    }

  def _is_cut(self, answer):
    last = answer.said[-1]
    most = self._config.evaluate.max_outcome_tokens
    return last.role == 'observation' and len(last.ids) == most


def _chosen(agent: Agent, requests) -> list[Decision | Failure]:
  """What it decides; where it needs to be asked again, it is."""
  answers = [None] * len(requests)
  while None in answers:
    left = [
      None if answer else request
      for request, answer in zip(requests, answers, strict=True)
    ]
    new = agent.act(left)
    answers = [a or b for a, b in zip(answers, new, strict=True)]
  return answers
