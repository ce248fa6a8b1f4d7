"""Tasks of one turn, made from records: a script, and what should follow it.

RWML (arXiv 2602.05842) asks what an action leads to, ACT (arXiv 2603.08706)
which action the expert's is. Either is known from the record, so that no
environment is needed.
"""

import dataclasses
import difflib
import pathlib
from collections.abc import Iterator

from ml_collections import ConfigDict

from early_experience.evaluation import panel as panels
from early_experience.evaluation import policies
from early_experience.experience import records, render
from early_experience.experience.records import Trajectory
from early_experience.runtime import files, stage
from early_experience.runtime.errors import UserError
from early_experience.tokenizers.interface import Tokenizer

OUTCOMES, CHOICES = 'outcomes', 'choices'


@dataclasses.dataclass(frozen=True)
class Question:
  """One of them, in the place of a task.

  Attributes:
    id: of the task that was recorded, its step, and the question's number.
    split: `train`, or `held_out`.
    type: of the task that was recorded.
    script: what is read.
    right: what should follow.
    options: the actions to choose from; None: what is observed is foretold.
  """

  id: str
  split: str
  type: str
  script: render.Script
  right: str
  options: tuple[str, ...] | None = None

  def score(self, answer: str) -> float:
    """How much of an answer is right, in [0, 1].

    An action is right or wrong. Of what is foretold it is the share of words
    that both texts have in one order (difflib's ratio): 1 where all are.
    """
    if self.options:
      return float(answer == self.right)
    words = answer.split(), self.right.split()
    return difflib.SequenceMatcher(None, *words, autojunk=False).ratio()


def sources(config: ConfigDict, workdir: str) -> dict[str, pathlib.Path]:
  """The stages that questions are made of: the records, and their split."""
  return {
    'records': policies.explored(config, workdir),
    'prepare': stage.require(workdir, 'prepare'),
  }


def of_workdir(
  config: ConfigDict, workdir: str, tokenizer: Tokenizer
) -> tuple[list[Question], list[Question]]:
  """The questions to learn from, and a panel of those of held-out records.

  Raises:
    UserError: there are fewer than an iteration takes, or none for the panel;
      or what is observed has no end that a model could say.
  """
  rl, places = config.rl, sources(config, workdir)
  split = files.read_json(places['prepare'] / 'split.json')
  held_out = set(split['held_out'])
  found = {'train': [], 'held_out': []}
  for trajectory in records.read(places['records']):
    kind = 'held_out' if trajectory.task_id in held_out else 'train'
    found[kind] += _questions(trajectory, kind, config)
  if len(found['train']) < rl.tasks:
    raise UserError(
      f'{places["records"]} makes {len(found["train"])} questions for'
      f' config.rl.source={rl.source!r}, fewer than config.rl.tasks ='
      f' {rl.tasks}; choices need the alternatives of `explore`'
    )
  check_end(found['train'][0], tokenizer)
  if not rl.panel_every:
    return found['train'], []
  if not found['held_out']:
    raise UserError(
      'config.rl.panel_every needs records that config.prepare.held_out kept'
      ' from training; there are none'
    )
  return found['train'], panels.choose(found['held_out'], rl.panel_tasks)


def check_end(question: Question, tokenizer: Tokenizer) -> None:
  """Makes sure that an answer may end as it ends in rows of training.

  Raises:
    UserError: a chat template ends what is observed by words alone.
  """
  role = 'action' if question.options else 'observation'
  ids = tokenizer.encode_answer(question.script, role, question.right)
  if ids[-1] not in tokenizer.stop_ids:
    raise UserError(
      "config.rl.source='outcomes': the chat template ends what is observed"
      f' with {tokenizer.decode(ids[-1:])!r}, at which the model cannot stop'
    )


def _questions(trajectory, split, config):
  if config.rl.source == CHOICES:
    asked = choices(trajectory, config.rl.alternatives)
  else:
    asked = outcomes(trajectory, config.prepare.world_model)
  for place, *question in asked:
    name = f'{trajectory.task_id}/{place}'
    yield Question(name, split, trajectory.task_type, *question)


def outcomes(trajectory: Trajectory, style: str) -> Iterator[tuple]:
  """What the expert's action and every alternative led to.

  Args:
    trajectory: of whose states each is asked about.
    style: `config.prepare.world_model`.

  Yields:
    A place in the record, the script, and what follows it.
  """
  for i in range(len(trajectory.steps)):
    asked = render.predictions(trajectory, i, style)
    for j, (script, outcome) in enumerate(asked):
      yield f'{i}/{j}', script, outcome


def choices(trajectory: Trajectory, count: int) -> Iterator[tuple]:
  """The expert's action among alternatives, each of which is shown once.

  Args:
    trajectory: of whose states each is asked about.
    count: alternatives that stand beside the expert's action, at most.

  Yields:
    A place in the record, the script, the expert's action, and all that it
    stands among, in the order of the alphabet: the place says nothing.
  """
  for i, step in enumerate(trajectory.steps):
    right = step.expert_action
    others = [action for action in step.tried if action != right]
    for j in range(0, len(others), count):
      options = tuple(sorted({right, *others[j : j + count]}))
      if len(options) > 1:
        script = render.choice(render.before(trajectory, i), options)
        yield f'{i}/{j}', script, right, options
