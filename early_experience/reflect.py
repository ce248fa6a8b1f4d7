"""Reflects: says at each expert state why the expert's action is better.

Every text, whoever wrote it, has to pass the checks; those that do not are
dropped, kept aside in `dropped-*.jsonl`, and counted by reason.
"""

import collections
import contextlib
import dataclasses
import functools
import itertools
import pathlib
from typing import Protocol

from ml_collections import ConfigDict

from early_experience.config import absent, checked, reads
from early_experience.experience import records
from early_experience.experience.answer_format import find_format
from early_experience.experience.records import Rationale, Trajectory
from early_experience.language import accounting
from early_experience.language.model import LanguageModel, identity
from early_experience.reflection import checks, openai_writer, star
from early_experience.reflection.decision import (
  Decision,
  Draft,
  decisions_of,
)
from early_experience.reflection.grounded import Grounded
from early_experience.runtime import cli, files, stage
from early_experience.runtime.progress import Progress
from early_experience.work import set_aside, workers

DROPPED = 'dropped'
PROMPTS = {
  'openai': openai_writer.PROMPT,
  'star': f'{star.PROMPT}+{star.OPTIONS}',
}
# Trajectories whose decisions are asked about at once: enough to keep an
# endpoint busy, few enough to lose little to a kill.
GROUP = 8
# From so many on, processes that write from what is recorded pay for their
# start; such a writer neither hangs nor crashes.
POOL = 64


class Writer(Protocol):
  """Whoever puts decisions into words; `name` goes into the records."""

  name: str

  def write(self, decisions: list[Decision]) -> list[Draft]:
    """One draft for each decision."""


@checked
def reflect(config: ConfigDict, workdir: str) -> dict:
  """Adds rationales to the explored trajectories; writes WORKDIR/reflect.

  Raises:
    UserError: `explore` is not done (or `summarise`, where it is enabled), a
      setting is wrong, or the language model of the `openai` writer cannot be
      used at all.
  """
  chosen = config.reflect
  source = stage.require(
    workdir, 'summarise' if config.summarise.enabled else 'explore'
  )
  writer, folder = None, pathlib.Path(workdir) / 'reflect'
  if stage.finished(folder) is None:
    # Before anything is written: it may refuse.
    writer = _writer(config, workdir)
    trajectories = list(records.read(source))
    done = _done(folder)
    todo = [t for t in trajectories if t.task_id not in done]
    if chosen.writer != 'grounded':
      decisions = _decisions(config)
      chats = (writer.chat(d) for t in todo for d in decisions(t))
      accounting.announce('reflect', writer.model, chats, cli.confirmed())
  settings = reads('reflect', config)
  if 'openai' in settings:
    prompt = {'prompt': PROMPTS[chosen.writer]}
    settings['openai'] = identity(chosen.openai) | prompt
  explored = files.read_json(source / stage.SETTINGS)
  folder = stage.begin(
    workdir,
    'reflect',
    settings | {'explored': explored},
    absent=absent('reflect', config),
  )
  if writer:
    if chosen.writer != 'grounded':
      model = writer.model
      before = accounting.heard(folder, DROPPED)
      model.bill = accounting.Bill(folder, model.prices, before)
    _reflect(writer, config, todo, len(trajectories), folder)
    stage.finish(folder, _summary(folder, writer.name))
  summary = stage.finished(folder)
  reasons = ', '.join(f'{n} {r}' for r, n in summary['dropped'].items())
  print(
    f'reflect: {summary["rationales"]} rationales by {summary["writer"]},'
    f' mean {summary["mean_words"]:.0f} words, at {summary["states"]} of'
    f' {summary["all_states"]} states; dropped: {reasons or "none"} -> {folder}'
    f'{set_aside.told(folder, summary)}'
  )
  accounting.tell('reflect', summary['answers'])
  return summary


def reflect_on(
  trajectory: Trajectory, decisions: list[Decision], drafts: list[Draft], name
) -> tuple[Trajectory, list[dict]]:
  """Puts the drafts that pass the checks into a trajectory.

  Returns:
    The trajectory, and for each dropped draft its step, reason and text.
  """
  kept, dropped = collections.defaultdict(list), []
  for about, draft in zip(decisions, drafts, strict=True):
    text, reason = draft.text, draft.failure
    if reason is None and not draft.acts:
      text, reason = checks.check(draft.text, about)
    if reason is None:
      kept[about.step].append(Rationale(text, draft.compared, name))
    else:
      dropped.append({'step': about.step, 'reason': reason, 'text': text})
  steps = (
    dataclasses.replace(step, rationales=tuple(kept[i]))
    for i, step in enumerate(trajectory.steps)
  )
  return dataclasses.replace(trajectory, steps=tuple(steps)), dropped


def _writer(config, workdir) -> Writer:
  if config.reflect.writer == 'grounded':
    return Grounded(config.seed, config.reflect.wordings)
  model = LanguageModel(config.reflect.openai, 'config.reflect.openai', workdir)
  if config.reflect.writer == 'star':
    return star.Star(model, find_format(config.prepare.answer_format))
  return openai_writer.OpenAIWriter(model)


def _done(folder):
  return files.written(folder, records.STEM) | set_aside.ids(folder)


def _reflect(writer, config, todo, count, folder):
  with (
    files.JsonlWriter(folder, records.STEM) as out,
    files.JsonlWriter(folder, DROPPED) as aside,
  ):
    progress = Progress('reflect', count, 'trajectories', count - len(todo))
    written = set_aside.sift(
      _run(writer, config, todo),
      folder,
      lambda group: group[0].task_id,
      progress.update,
    )
    with contextlib.closing(written):
      for group, results in written:
        for trajectory, (record, dropped) in zip(group, results, strict=True):
          # The trajectory last: it is what says that this unit is done. After
          # a kill between the two, the unit's newer line of drops counts.
          aside.write({'task_id': trajectory.task_id, **dropped})
          out.write(record)
          progress.update()
    progress.close()


def _run(writer, config, todo):
  """Yields (trajectories, for each its record and what was dropped)."""
  chosen, cluster = config.reflect, config.cluster
  write = functools.partial(_write, writer, _decisions(config))
  if chosen.writer != 'grounded':  # asks many at once by itself, and may refuse
    for start in range(0, len(todo), GROUP):
      group = todo[start : start + GROUP]
      yield group, write(group)
    return
  units = ([trajectory] for trajectory in todo)
  if len(todo) < POOL and not cluster.address:
    yield from workers.run_here(write, units, cluster.tries)
  else:
    yield from workers.run(write, units, cluster, len(todo))


def _decisions(config):
  """What gives the decisions of a trajectory."""
  chosen = config.reflect
  return functools.partial(
    decisions_of,
    k=0 if chosen.writer == 'star' else chosen.k,
    per_alternative=chosen.per_alternative and chosen.writer != 'star',
    seed=config.seed,
    invalid=chosen.invalid,
    max_steps=chosen.max_steps,
  )


def _write(writer, decisions_in, group):
  asked = [decisions_in(trajectory) for trajectory in group]
  drafts = iter(writer.write(list(itertools.chain(*asked))))
  results = []
  for trajectory, decisions in zip(group, asked, strict=True):
    own = list(itertools.islice(drafts, len(decisions)))
    trajectory, dropped = reflect_on(trajectory, decisions, own, writer.name)
    aside = {'dropped': dropped}
    if answers := [draft.answer for draft in own if draft.answer]:
      aside['answers'] = accounting.count(answers, writer.model.prices)
    results.append((records.to_json(trajectory), aside))
  return results


def _summary(folder, name):
  """Counts what is on disk, so that a continued run counts all of it."""
  aside = {v['task_id']: v for _, v in files.read_jsonl(folder, DROPPED)}
  reasons = collections.Counter(
    drop['reason'] for line in aside.values() for drop in line['dropped']
  )
  trajectories = all_states = states = rationales = words = 0
  for _, value in files.read_jsonl(folder, records.STEM):
    trajectories += 1
    for step in value['steps']:
      all_states += 1
      states += bool(step['rationales'])
      rationales += len(step['rationales'])
      words += sum(len(r['text'].split()) for r in step['rationales'])
  return {
    'writer': name,
    'trajectories': trajectories,
    'all_states': all_states,
    'states': states,
    'rationales': rationales,
    'mean_words': words / max(1, rationales),
    'dropped': dict(sorted(reasons.items())),
    'answers': accounting.billed(accounting.heard(folder, DROPPED), folder),
    'set_aside': set_aside.by_reason(folder),
  }


if __name__ == '__main__':
  cli.run(reflect)
