"""Evaluates a policy: success by split and type, and its model of the world."""

import collections
import contextlib
import copy
import functools
import operator
import pathlib
from collections.abc import Callable

from ml_collections import ConfigDict

from early_experience.config import absent, checked, reads
from early_experience.envs import apart, registry
from early_experience.envs.guard import Guarded
from early_experience.envs.interface import Environment
from early_experience.evaluation import panel, policies, rollouts
from early_experience.experience import records
from early_experience.language import accounting
from early_experience.language.model import identity
from early_experience.runtime import cli, files, stage
from early_experience.runtime.errors import UserError
from early_experience.runtime.progress import Progress
from early_experience.work import hosts, set_aside


@checked
def evaluate(config: ConfigDict, workdir: str) -> dict:
  """Plays held-out tasks with a policy; writes WORKDIR/evaluate/NAME.

  Raises:
    UserError: as `evaluate_in`.
  """
  most = config.evaluate.batch_tasks
  with contextlib.closing(apart.seats_anywhere(config, most)) as seats:
    return _evaluate(seats, config, workdir)


@checked
def evaluate_in(
  make: Callable[[], Environment], config: ConfigDict, workdir: str
) -> dict:
  """Likewise in environments of this process.

  The tasks and the held-out states are the same for every policy.

  Args:
    make: makes an environment; called once for each episode side by side, and
      in place of each that fails. They are closed in the end.
    config: `evaluate` says how, `name` which policy.
    workdir: of the run.

  Raises:
    UserError: there is no such split, a stage before this is not done, or no
      episode can be played.
  """
  longest = config.env.max_observation_chars
  with contextlib.closing(
    hosts.Here(lambda: Guarded(make(), longest))
  ) as seats:
    return _evaluate(seats, config, workdir)


def _evaluate(seats, config, workdir):
  config = copy.deepcopy(config)
  how = config.evaluate
  random = how.policy == 'random'
  policies.check_samples(how)
  if how.policy != 'served':
    how.think = bool(how.think) if random else thinks(how.think, workdir)
  source, tasks = _tasks(seats, config)
  # What both train/NAME and rl/NAME came to, side by side.
  after_rl = how.policy == 'rl'
  called = panel.after_rl(config.name) if after_rl else config.name
  label = panel.folder_name(called, how.panel, how.samples, how.look_ahead)
  name = f'evaluate/{label}'
  settings = _settings(config, workdir)
  # All that can be wrong is found before the folder is begun with it.
  most = max(how.batch_tasks // how.samples, 1)
  slots = min(most, max(map(len, tasks.values())))
  if stage.finished(pathlib.Path(workdir) / name) is None:
    policy = policies.load(
      config,
      workdir,
      slots * how.samples,
      pathlib.Path(workdir) / name,
      sum(map(len, tasks.values())),
      cli.confirmed(),
    )
    thinking = policies.longer(policy, config, workdir)
  folder = stage.begin(
    workdir, name, settings, absent=absent('evaluate', config)
  )
  summary = stage.finished(folder)
  if summary is None or (folder / panel.FILE).exists():
    asked = panel.keep(folder, tasks)
  if summary is None:
    _play(tasks, seats, slots, thinking, config, folder)
    seats.close()  # what follows does without
    found = collections.defaultdict(list)
    for _, record in files.read_jsonl(folder, panel.STEM):
      found[record['split']].append(record)
    summary = stage.finish(
      folder,
      {
        'name': called,
        'policy': how.policy,
        'panel': how.panel,
        'source': source,
        'settings': settings['evaluate'],
        'splits': {
          split: panel.summarise(found[split], asked[split])
          for split in how.splits
        },
        'set_aside': set_aside.by_reason(folder),
        'world_model': _world_model(policy, config, workdir),
        'answers': accounting.billed(_answers(found, 'policy_answers'), folder),
        'environment_answers': _answers(found, 'answers'),
      },
    )
  summary = panel.recounted(folder, summary)
  for line in _lines(label, summary):
    print(line)
  if told := set_aside.told(folder, summary):
    print(f'evaluate {label}{told}')
  accounting.tell(f'evaluate {label}', summary.get('answers'))
  who = f'evaluate {label}, its environment'
  accounting.tell(who, summary.get('environment_answers'))
  return summary


def _settings(config, workdir):
  """All that the episodes depend on."""
  how = config.evaluate
  settings = reads('evaluate', config) | {'env': registry.settings(config.env)}
  if how.policy == 'served':
    settings['evaluate']['openai'] = identity(how.openai)
  if 'init' in settings['beside']:
    from early_experience.training import origin  # JAX: processes do without

    settings['beside']['init'] = origin.noted(config.init)
  if how.policy in rollouts.FOLDERS:
    trained_by = rollouts.FOLDERS[how.policy]
    trained = stage.require(workdir, f'{trained_by}/{config.name}')
    settings['trained'] = files.read_json(trained / stage.SETTINGS)
  return settings


def thinks(think: bool | None, workdir) -> bool:
  """Whether the policy is to think: as it is set, else as it was trained."""
  if think is not None:
    return think
  prepared = stage.finished(stage.require(workdir, 'prepare'))
  return prepared.get('thinks', False)


def _tasks(seats, config):
  """Where the tasks are from, and those to play, by split."""
  ask = functools.partial(apart.ask, seats, config.env.name)
  name, source = ask(operator.attrgetter('name', 'source'))
  tasks, how = {}, config.evaluate
  for split in how.splits:
    there = ask(operator.methodcaller('tasks', split))
    if strays := {task.split for task in there} - {split}:
      raise UserError(
        f'{name} lists tasks of split {min(strays)!r} in split {split!r}'
      )
    tasks[split] = panel.choose(there, how.tasks, how.panel)
    if not tasks[split]:
      of = '' if how.panel == panel.ALL else f' of panel {how.panel!r}'
      raise UserError(f'{name} has no tasks{of} in split {split!r}')
  if not tasks:
    raise UserError('config.evaluate.splits is empty')
  return source, tasks


def _play(tasks, seats, slots, policy, config, folder):
  """Plays what is not yet on disk; a record is written as its episode ends."""
  todo = [task for some in tasks.values() for task in some]
  # The writer repairs a torn last line.
  with files.JsonlWriter(folder, panel.STEM) as writer:
    done = {
      _id(r['split'], r['task_id'])
      for _, r in files.read_jsonl(folder, panel.STEM)
    }
    done |= set_aside.ids(folder)
    left = [task for task in todo if _id(task.split, task.id) not in done]
    label = f'evaluate {folder.name}'
    progress = Progress(label, len(todo), 'episodes', done=len(done))
    played = set_aside.sift(
      rollouts.run(
        left,
        seats,
        policy,
        slots=min(slots, len(left)),
        max_steps=config.evaluate.max_steps,
        tries=config.cluster.tries,
      ),
      folder,
      lambda task: _id(task.split, task.id),
      progress.update,
    )
    for _, record in played:
      writer.write(record)
      progress.update()
  progress.close()


def _answers(found, key):
  """What language models answered in all episodes; None where none did."""
  records = (record for some in found.values() for record in some)
  return accounting.total(r[key] for r in records if key in r)


def _id(split, task_id):
  return f'{split}/{task_id}'


def _world_model(policy, config, workdir):
  how, states = config.evaluate, config.evaluate.world_model_states
  # However many samples decide, it is the same model.
  if how.policy in policies.NOT_OURS or how.samples > 1 or not states:
    return None
  prepared = stage.require(workdir, 'prepare')
  held_out = set(files.read_json(prepared / 'split.json')['held_out'])
  if not held_out:
    return None
  found = records.read(policies.explored(config, workdir))
  trajectories = [t for t in found if t.task_id in held_out]
  import jax

  from early_experience.evaluation import world_model

  with jax.set_mesh(policy.mesh):
    return world_model.measure(
      policy.params,
      policy.cfg,
      policy.tokenizer,
      policy.mesh,
      trajectories,
      states=states,
      k=how.world_model_k,
      style=config.prepare.world_model,
    )


def _lines(label, summary):
  """What the stage says it did: a line a split, and one on the world."""
  for split, counts in summary['splits'].items():
    silent = counts['no_action']
    yield (
      f'evaluate {label}: {split} {panel.told(counts["success"])},'
      f' {counts["steps"]["mean"]:.1f} steps,'
      f' {counts["invalid_rate"]:.1%} invalid,'
      f' {counts["out_of_context"]} out of context'
      + (f', {silent} without an action' if silent else '')
    )
  world = summary['world_model']
  if world is not None:
    exact, too_long = world['exact_match'], world['exact_match']['too_long']
    yield (
      f'evaluate {label}: next observation {exact["rate"]:.1%}'
      f' [{exact["low"]:.1%}, {exact["high"]:.1%}] exact of {exact["n"]}'
      + _constant(exact)
      + (f' ({too_long} too long to read)' if too_long else '')
      + f', {world["nll"]:.3f} nats a token'
    )


def _constant(exact):
  """What who always foretells the same would get; older ones do not know."""
  if not exact['n'] or 'commonest' not in exact:
    return ''
  return f', {exact["commonest"] / exact["n"]:.1%} are the commonest one'


if __name__ == '__main__':
  cli.run(evaluate)
