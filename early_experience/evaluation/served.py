"""A policy behind an endpoint: a language model is asked for each action."""

import pathlib
from collections.abc import Sequence

from ml_collections import ConfigDict

from early_experience.evaluation import panel
from early_experience.evaluation.decisions import Decision, Request
from early_experience.experience.answer_format import find_format
from early_experience.language import accounting
from early_experience.language.acting import Acting
from early_experience.language.answer import Answer, Chat
from early_experience.language.model import LanguageModel
from early_experience.runtime import files
from early_experience.runtime.errors import UserError
from early_experience.work import set_aside
from early_experience.work.units import Failure

# What a model did not say, and what it could not read, is the policy's own
# fault; all else that keeps it from answering is its server's.
_WHY = {
  'empty': 'no_action',
  'truncated': 'no_action',
  'too long': 'out_of_context',
}
# Requests that fail one after another: the fault is no longer theirs.
_HOPELESS = 8


def load(
  config: ConfigDict,
  workdir: str,
  folder: pathlib.Path,
  tasks: int,
  confirmed: bool,
) -> 'Served':
  """The policy of `config.evaluate.openai`; says what it may take.

  Args:
    config: `evaluate` is used, and `prepare.answer_format`.
    workdir: of the run, which has the answers.
    folder: of the evaluation, which may have been begun.
    tasks: to be played in all.
    confirmed: the user said --yes.

  Raises:
    UserError: a setting is wrong; nothing was asked.
  """
  how, where = config.evaluate, 'config.evaluate.openai'
  settings = how.openai
  if how.constrained:
    raise UserError(
      "config.evaluate.constrained=True holds no model of policy='served': set"
      f' it False; {where}.options=options-1 shows what is admissible'
    )
  acting = Acting(
    find_format(config.prepare.answer_format),
    where,
    settings.system,
    settings.prompt,
    settings.options,
  )
  model = LanguageModel(settings, where, workdir)
  played = [
    record
    for path in files.jsonl_shards(folder, panel.STEM)
    for _, record in files.read_objects(path, cut=True)
  ]
  before = accounting.total(
    r['policy_answers'] for r in played if 'policy_answers' in r
  )
  model.bill = accounting.Bill(folder, model.prices, before)
  meter = accounting.Meter(f'evaluate {folder.name}', model, confirmed)
  left = tasks - len(played) - len(set_aside.ids(folder))
  meter.announce(left * how.max_steps * how.samples, settings.max_tokens)
  return Served(model, acting, meter)


def samples_differ(settings: ConfigDict) -> bool:
  """Whether several answers to one chat are more than one."""
  heats = tuple(settings.temperatures) or (settings.temperature,)
  return any(heats) or not settings.sends_temperature


class Served:
  """A policy of `rollouts`.

  The chats of all episodes side by side are asked for at once.

  Args:
    model: is asked.
    acting: how.
    meter: holds it to its limits.
  """

  def __init__(
    self, model: LanguageModel, acting: Acting, meter: accounting.Meter
  ):
    self._model, self._acting, self._meter = model, acting, meter
    self.lists = acting.lists

  def act(
    self, requests: Sequence[Request | None]
  ) -> list[Decision | Failure | None]:
    """Decides for each slot.

    Raises:
      UserError: the model answers nobody, or above the limits of its settings.
    """
    chats = [self._chat(request) for request in requests if request]
    answers = self._model.ask(chats, _HOPELESS)
    self._meter.check()
    left = iter(answers)
    return [request and self._decision(next(left)) for request in requests]

  def _chat(self, request):
    messages = self._acting.messages(request.script, request.admissible)
    return Chat(messages, self._acting.prompts, request.sample)

  def _decision(self, answer):
    counted = accounting.count([answer], self._model.prices)
    if isinstance(answer, Answer):
      thought, action = self._acting.read(answer)
      return Decision(action or None, thought, answers=counted)
    if answer.reason in _WHY:
      return Decision(None, why=_WHY[answer.reason], answers=counted)
    return Failure(answer.reason, answer.detail or answer.reason)
