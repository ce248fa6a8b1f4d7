"""Summarises outcomes: what a world model learns where they are whole pages.

As the paper does for WebShop, SearchQA and WebArena (arXiv 2510.08558, appendix
B.2, B.5, B.8). Histories keep the outcomes themselves: a policy reads those.
"""

import dataclasses
import itertools
import pathlib
from collections.abc import Iterator, Sequence

from ml_collections import ConfigDict

from early_experience.config import absent, checked
from early_experience.experience import records
from early_experience.experience.records import Trajectory
from early_experience.language import accounting, prompts
from early_experience.language.answer import Answer, Chat, Failure
from early_experience.language.model import LanguageModel, identity
from early_experience.runtime import cli, files, stage
from early_experience.runtime.progress import Progress

PROMPT = 'summary-1'
ANSWERS = 'answers'
# Trajectories whose outcomes are asked about at once.
GROUP = 8


@checked
def summarise(config: ConfigDict, workdir: str) -> dict:
  """Adds summaries to the explored trajectories; writes WORKDIR/summarise.

  What the environment rejected keeps its answer, which is short and says why.
  So does an outcome that no summary was given for; it is counted.

  Raises:
    UserError: `explore` is not done, or the language model cannot be used.
  """
  settings = config.summarise.openai
  source = stage.require(workdir, 'explore')
  folder, model = pathlib.Path(workdir) / 'summarise', None
  if stage.finished(folder) is None:
    # Before anything is written: it may refuse.
    model = LanguageModel(settings, 'config.summarise.openai', workdir)
    trajectories = list(records.read(source))
    done = files.written(folder, records.STEM)
    todo = [t for t in trajectories if t.task_id not in done]
    asked = (chat for trajectory in todo for chat in chats(trajectory))
    accounting.announce('summarise', model, asked, cli.confirmed())
  folder = stage.begin(
    workdir,
    'summarise',
    {
      'openai': identity(config.summarise.openai) | {'prompt': PROMPT},
      'explored': files.read_json(source / stage.SETTINGS),
    },
    absent=absent('summarise', config),
  )
  if model:
    before = accounting.heard(folder, ANSWERS)
    model.bill = accounting.Bill(folder, model.prices, before)
    _summarise(model, todo, len(trajectories), folder)
    stage.finish(folder, _summary(folder, model))
  summary = stage.finished(folder)
  print(
    f'summarise: {summary["summaries"]} summaries by {summary["writer"]}, mean'
    f' {summary["mean_characters"]:.0f} characters, of {summary["outcomes"]}'
    f' outcomes; {summary["rejected"]} rejections kept as they are,'
    f' {summary["missing"]} without a summary -> {folder}'
  )
  accounting.tell('summarise', summary['answers'])
  return summary


def chats(trajectory: Trajectory) -> Iterator[Chat]:
  """What is asked about a trajectory: each step's outcome, its branches'."""
  for index, step in enumerate(trajectory.steps):
    pairs = [(step.action, trajectory.outcome(index))]
    pairs += [(a.action, a.observation) for a in step.alternatives if a.valid]
    for action, outcome in pairs:
      text = prompts.fill(
        PROMPT,
        instruction=trajectory.instruction,
        observation=step.observation,
        action=action,
        outcome=outcome,
      )
      yield Chat([{'role': 'user', 'content': text}], PROMPT)


def with_summaries(
  trajectory: Trajectory, answers: Sequence[Answer | Failure]
) -> Trajectory:
  """The trajectory with the answers to its `chats`."""
  texts = iter([_text(answer) for answer in answers])
  steps = []
  for step in trajectory.steps:
    summary = next(texts)
    alternatives = tuple(
      dataclasses.replace(other, summary=next(texts) if other.valid else None)
      for other in step.alternatives
    )
    steps.append(
      dataclasses.replace(step, summary=summary, alternatives=alternatives)
    )
  return dataclasses.replace(trajectory, steps=tuple(steps))


def _text(answer):
  """A summary in one paragraph; None where there is no whole one."""
  if isinstance(answer, Failure) or answer.truncated:
    return None
  return ' '.join(answer.text.split())


def _summarise(model, todo, count, folder):
  with (
    files.JsonlWriter(folder, records.STEM) as out,
    files.JsonlWriter(folder, ANSWERS) as aside,
  ):
    progress = Progress('summarise', count, 'trajectories', count - len(todo))
    for start in range(0, len(todo), GROUP):
      group = todo[start : start + GROUP]
      asked = [list(chats(trajectory)) for trajectory in group]
      answers = iter(model.ask(list(itertools.chain(*asked))))
      for trajectory, own in zip(group, asked, strict=True):
        heard = list(itertools.islice(answers, len(own)))
        # The trajectory last: it is what says that this unit is done.
        aside.write(
          {
            'task_id': trajectory.task_id,
            'answers': accounting.count(heard, model.prices),
          }
        )
        out.write(records.to_json(with_summaries(trajectory, heard)))
        progress.update()
    progress.close()


def _summary(folder, model):
  """Counts what is on disk, so that a continued run counts all of it."""
  trajectories = outcomes = rejected = summaries = characters = 0
  for _, value in files.read_jsonl(folder, records.STEM):
    trajectories += 1
    for step in value['steps']:
      rejected += sum(not other['valid'] for other in step['alternatives'])
      for told in (step, *step['alternatives']):
        outcomes += 1
        summaries += told['summary'] is not None
        characters += len(told['summary'] or '')
  return {
    'writer': f'{model.name} {PROMPT}',
    'trajectories': trajectories,
    'outcomes': outcomes,
    'summaries': summaries,
    'mean_characters': characters / max(1, summaries),
    'rejected': rejected,
    'missing': outcomes - summaries - rejected,
    'answers': accounting.billed(accounting.heard(folder, ANSWERS), folder),
  }


if __name__ == '__main__':
  cli.run(summarise)
