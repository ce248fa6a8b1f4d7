"""One episode: the calls of its environment, and its record."""

import collections
from collections.abc import Sequence

from early_experience.envs.guard import check_record, check_text
from early_experience.envs.interface import Environment, Task
from early_experience.evaluation.decisions import Request
from early_experience.experience import render
from early_experience.language import accounting
from early_experience.work import units
from early_experience.work.hosts import Call
from early_experience.work.units import Failure


def begin(env: Environment, task: Task, lists: bool) -> tuple:
  """Starts an episode: the instruction, the turn, and what is admissible.

  Nothing in its place without `lists`: to find it may take longer than a turn.
  """
  turn = env.reset(task)
  return env.instruction, turn, env.admissible() if lists else None


def act(
  env: Environment, actions: Sequence[str], last: bool, lists: bool
) -> tuple:
  """One turn: all actions as the environment writes them, the place of the one
  that was executed, the turn, and what is admissible then, with `lists`.

  At the episode's end what language models said in it, in place of actions.
  """
  actions = [env.canonical(action) for action in actions]
  place = elected(actions)
  check_text('action', actions[place])
  turn = env.step(actions[place])
  if turn.done or last:
    return actions, place, turn, env.answers()
  return actions, place, turn, env.admissible() if lists else None


def elected(actions: Sequence[str]) -> int:
  """The place of the action with most votes; of a tie, that sampled first."""
  votes = collections.Counter(actions)
  return max(range(len(actions)), key=lambda place: votes[actions[place]])


def leave(env: Environment) -> dict | None:
  """Ends an episode that does not go on."""
  return env.answers()


class Episode:
  """A task being played.

  Attributes:
    request: the decision to take now; None while the environment is called.
    end: why it ends; the policy's `Failure`, where it can take no decision.
  """

  def __init__(self, task, max_steps, lists):
    self.task, self.request, self.end = task, None, ''
    self._max_steps, self._steps, self._answers = max_steps, [], []
    self._lists = lists

  def begin(self):
    return self._call(begin, self.task, self._lists)

  def decide(self, decision):
    """The call that follows on a decision."""
    self._decision = decision
    failed = isinstance(decision, Failure)
    if not failed and decision.answers:
      self._answers.append(decision.answers)
    if failed or decision.action is None:
      self.end = decision if failed else decision.why
      return self._call(leave)
    last = len(self._steps) + 1 == self._max_steps
    self._votes = decision.votes or (decision,)
    actions = [vote.action for vote in self._votes]
    return self._call(act, actions, last, self._lists)

  def _call(self, function, *args):
    self.request = None
    self._called = function
    return Call(function, args, first=function is begin)

  def hear(self, answer):
    """Takes what the call returned; the result, where the episode is over."""
    if isinstance(answer, Failure):
      return answer
    if self._called is leave:
      return self.end if self.end is self._decision else self._record(answer)
    if self._called is begin:
      self._instruction, self._turn, admissible = answer
      self._script = render.opening(self._instruction, self._turn.observation)
    else:
      before = self._turn.observation
      actions, place, self._turn, admissible = answer
      self._script += render.exchange(actions[place], self._turn.observation)
      self._steps.append(
        {
          'observation': before,
          'thought': self._votes[place].thought,
          'action': actions[place],
          'valid': self._turn.valid,
        }
        | (
          {'votes': collections.Counter(actions)}
          if self._decision.votes
          else {}
        )
      )
      if self._turn.done or len(self._steps) == self._max_steps:
        self.end = 'done' if self._turn.done else 'max_steps'
        return self._record(admissible)
    key = f'{self.task.id}/{len(self._steps)}'
    self.request = Request(key, self._script, admissible)
    return None

  def _record(self, said):
    record = {
      'task_id': self.task.id,
      'split': self.task.split,
      'task_type': self.task.type,
      'instruction': self._instruction,
      'success': self._turn.success,
      'score': self._turn.score,
      'end': self.end,
      'steps': self._steps,
      'final_observation': self._turn.observation,
    }
    if said is not None:
      record['answers'] = said
    if self._answers:
      record['policy_answers'] = accounting.total(self._answers)
    return units.attempt(check_record, record)
