"""From experts to a table of results, on the toy environment."""

import copy
import json
import shutil

import jax
import pytest

from early_experience import collect, evaluate, explore, prepare, train
from early_experience.config import default
from early_experience.envs.interface import Turn
from early_experience.evaluation import agent, loading, world_model
from early_experience.experience import records
from early_experience.runtime.errors import UserError
from early_experience.tokenizers import sentencepiece_tokenizer
from tests.toy_env import ToyEnv


def config_of(policy='trained', **changes):
  config = default()
  config.name = changes.pop('name', policy)
  config.env.name = 'toy'
  config.collect.trajectories = 24
  config.explore.k = 2
  config.prepare.vocab_size = 320
  config.prepare.row_tokens = 128
  config.prepare.held_out = 0.25
  config.prepare.rows = {'expert': {'datasets': ('imitation', 'world_model')}}
  config.model.update(
    layers=2, embed=32, heads=2, kv_heads=1, head_dim=16, mlp=64, max_tokens=160
  )
  config.mesh.fsdp = 1
  (stage,) = config.train.stages
  stage.update(steps=80, lr_peak=1e-2)
  stage.weights.update(imitation=1.0, world_model=1.0)
  config.train.batch_rows = 4
  config.evaluate.policy = policy
  config.evaluate.splits = ('test',)
  config.evaluate.tasks = 12
  config.evaluate.max_steps = 5
  config.evaluate.constrained = True
  config.evaluate.batch_tasks = 4
  config.evaluate.world_model_states = 6
  config.evaluate.update(changes)
  return config


def make():
  return ToyEnv(tasks=32)


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  """Everything that evaluation needs: experts, branches, rows, a policy."""
  workdir = tmp_path_factory.mktemp('run')
  config = config_of()
  collect.collect_from(make(), config, workdir)
  explore.explore_in(make(), config, workdir)
  prepare.prepare(config, workdir)
  train.train(config, workdir)
  return workdir


@pytest.fixture(scope='module')
def summaries(workdir):
  return {
    policy: evaluate.evaluate_in(make, config_of(policy), workdir)
    for policy in ('trained', 'untrained', 'random')
  }


def lines(workdir, name):
  path = workdir / 'evaluate' / name / 'rollouts-00000.jsonl'
  return path.read_text().splitlines(keepends=True)


def test_a_trained_policy_beats_the_untrained_and_the_random(summaries):
  rates = {
    policy: summary['splits']['test']['success']['rate']
    for policy, summary in summaries.items()
  }
  assert rates['trained'] > max(rates['untrained'], rates['random'])
  trained, untrained = (
    summaries[policy]['world_model'] for policy in ('trained', 'untrained')
  )
  assert trained['nll'] < untrained['nll'] - 1
  assert trained['exact_match']['count'] > untrained['exact_match']['count']
  assert summaries['random']['world_model'] is None


def test_exact_match_is_what_greedy_decoding_gets(workdir, summaries):
  (held_out,) = json.loads(
    (workdir / 'prepare/split.json').read_text()
  ).values()
  trained = loading.load_agent(
    config_of(), workdir, 'trained', 'trained', agent.Decoding(), slots=4
  )
  coder, contexts = trained.tokenizer, trained._contexts
  states = [
    (trajectory, i)
    for trajectory in records.read(workdir / 'explore')
    if trajectory.task_id in held_out
    for i in range(len(trajectory.steps))
  ]
  exact = count = 0
  with jax.set_mesh(trained.mesh):
    for trajectory, i in states:
      for script in world_model._scripts(trajectory, [i], 'inline'):
        prompt = coder.encode_prompt(script[:-1], 'observation')
        rest = [None] * 3
        logits_BV, ready = contexts.read([prompt, *rest], 1.0)
        ids, *_ = contexts.write(logits_BV, ready, [], 32, 0.0)
        exact += coder.decode(ids) == script[-1].text
        count += 1
    found = world_model.measure(
      trained.params,
      trained.cfg,
      coder,
      trained.mesh,
      [t for t in records.read(workdir / 'explore') if t.task_id in held_out],
      states=len(states),
      style='inline',
    )
  assert found['exact_match']['n'] == count
  assert found['exact_match']['count'] == exact
  assert 0 < exact < count


def test_a_summary_counts_what_the_records_say(workdir, summaries):
  records = [json.loads(line) for line in lines(workdir, 'random')]
  summary = summaries['random']['splits']['test']
  solved = [record['success'] for record in records]
  assert summary['tasks'] == len(solved) == 12
  assert summary['success']['count'] == sum(solved)
  assert (
    summary['success']['low'] < sum(solved) / 12 < summary['success']['high']
  )
  steps = [len(record['steps']) for record in records]
  assert summary['steps']['mean'] == pytest.approx(sum(steps) / 12)
  assert summary['invalid_rate'] == 0
  assert summary['out_of_context'] == summary['no_action'] == 0
  assert [summary['by_type'][kind]['n'] for kind in ('near', 'far')] == [6, 6]


def test_every_policy_gets_the_same_tasks(workdir, summaries):
  played = [
    sorted(json.loads(line)['task_id'] for line in lines(workdir, policy))
    for policy in summaries
  ]
  assert played[0] == played[1] == played[2]


def test_samples_are_looked_ahead_from_beside_the_evaluation_itself(
  workdir, summaries
):
  longer = {'samples': 2, 'look_ahead': True, 'temperature': 0.5}
  config = config_of(tasks=4, max_outcome_tokens=16, **longer)
  summary = evaluate.evaluate_in(make, config, workdir)
  found = [json.loads(line) for line in lines(workdir, 'trained-look2')]
  assert len(found) == summary['splits']['test']['tasks'] == 4
  votes = [sum(s['votes'].values()) for r in found for s in r['steps']]
  assert set(votes) <= {1, 2} and 2 in votes
  assert summary['name'] == 'trained' and summary['world_model'] is None
  assert summary['settings']['samples'] == 2


def test_a_stopped_evaluation_goes_on_where_it_was(workdir, summaries, capsys):
  folder = workdir / 'evaluate' / 'trained'
  whole = lines(workdir, 'trained')
  (folder / 'summary.json').unlink()
  path = folder / 'rollouts-00000.jsonl'
  path.write_text(''.join(whole[:5]) + whole[5][:40])
  made = []

  def counted():
    made.append(ToyEnv(tasks=32))
    return made[-1]

  again = evaluate.evaluate_in(counted, config_of(), workdir)
  assert again == summaries['trained']
  assert lines(workdir, 'trained')[:5] == whole[:5]
  assert sorted(lines(workdir, 'trained')) == sorted(whole)
  evaluate.evaluate_in(make, config_of(), workdir)  # nothing is left to do
  assert sorted(lines(workdir, 'trained')) == sorted(whole)
  printed = capsys.readouterr().out.splitlines()
  assert printed[:2] == printed[2:]
  assert printed[0].startswith('evaluate trained: test ')


def fails(match, config, workdir):
  """One line that says it, and no folder begun with a wrong setting."""
  with pytest.raises(UserError, match=match) as error:
    evaluate.evaluate_in(make, config, workdir)
  assert '\n' not in str(error.value)
  assert not (workdir / 'evaluate' / config.name).exists()


def test_every_environment_is_closed_whatever_happens(workdir, tmp_path):
  class Closes(ToyEnv):
    def step(self, action):
      raise OSError('the server is gone')

    def close(self):
      still_open.remove(self)

  def open_one():
    still_open.append(Closes(tasks=32))
    made.append(still_open[-1])
    return made[-1]

  still_open, made = [], []
  with pytest.raises(UserError, match='none of 12 units.*server is gone'):
    evaluate.evaluate_in(open_one, config_of('random'), tmp_path)
  assert len(made) == config_of().cluster.tries * 12 and not still_open


def test_an_environment_that_fails_costs_its_own_episode(tmp_path, capsys):
  """One each that hides, crashes, lists nothing more, or says too much."""

  class Fails(ToyEnv):
    works = True

    def reset(self, task):
      self.task, works = task.id, self.works
      self.works = task.id not in ('test-1', 'test-2', 'test-3', 'test-4')
      if task.id == 'test-1' or not works:
        raise OSError('no such game')
      return super().reset(task)

    def step(self, action):
      assert self.task != 'test-2', 'the server is gone'
      turn = super().step(action)
      return Turn('x' * 9999) if self.task == 'test-4' else turn

    def admissible(self):
      return super().admissible() if self.task != 'test-3' else 1 / 0

  config = config_of('random', tasks=0)
  config.env.max_observation_chars = 999
  summary = evaluate.evaluate_in(
    lambda: Fails(tasks=9), copy.deepcopy(config), tmp_path
  )
  assert summary['set_aside'] == {'error': 3, 'observation too long': 1}
  counts = summary['splits']['test']
  success, kinds = counts['success'], counts['by_type']
  assert (counts['tasks'], success['n'], success['set_aside']) == (9, 9, 4)
  assert [kinds[k]['set_aside'] for k in ('near', 'far')] == [2, 2]
  said = capsys.readouterr().out
  assert f'test {success["count"]}/9 = ' in said and '], 4 set aside, ' in said
  assert 'evaluate random; set aside: 3 error, 1 observation too long' in said
  evaluate.evaluate_in(lambda: ToyEnv(tasks=9), config, tmp_path / 'whole')
  whole = lines(tmp_path / 'whole', 'random')
  assert len(whole) == 9 and set(lines(tmp_path, 'random')) < set(whole)
  # Continued, they are not tried again.
  (tmp_path / 'evaluate' / 'random' / 'summary.json').unlink()
  made = lambda: Fails(tasks=9)
  assert evaluate.evaluate_in(made, config, tmp_path) == summary


def test_what_is_wrong_is_one_line_and_leaves_nothing(workdir, tmp_path):
  fails(
    "no split 'tset'; .*test", config_of(splits=('tset',), name='a'), workdir
  )
  fails("config.evaluate.policy is 'best'", config_of('best'), workdir)
  fails('early_experience.train ', config_of(name='never'), workdir)
  fails('early_experience.prepare ', config_of('untrained'), tmp_path)


@pytest.mark.parametrize(
  ('seeking', 'taking', 'thinks'),
  [('Hm.', 'Ah.', True), ('Hm.', None, True), (None, 'Ah.', False), ('',) * 3],
)
def test_a_policy_thinks_as_most_of_its_experts_did(
  tmp_path, monkeypatch, seeking, taking, thinks
):
  class Thinker(ToyEnv):
    def expert(self, turn):
      said = super().expert(turn)
      action = next(said)
      while action:
        turn = yield action, seeking if 'open' in action else taking
        action = said.send(turn) if not turn.done else None

  def asked(**changes):
    config = config_of('untrained', **changes)
    with pytest.raises(UserError) as error:
      evaluate.evaluate_in(make, config, tmp_path)
    return str(error.value)

  def told(*args):
    raise UserError(f'{args[4].think}')

  collect.collect_from(Thinker(tasks=32), config_of(), tmp_path)
  prepare.prepare(config_of(), tmp_path)
  monkeypatch.setattr(loading, 'load_agent', told)
  assert asked() == str(bool(thinks))
  assert asked(think=True) == 'True' and asked(think=False) == 'False'


def test_a_policy_of_another_kind_is_refused(workdir, tmp_path):
  copy = tmp_path / 'copy'
  shutil.copytree(workdir, copy, ignore=shutil.ignore_patterns('evaluate'))
  config = config_of()
  config.model.mlp = 32
  fails('another architecture: mlp is 64 there and 32', config, copy)
  other = sentencepiece_tokenizer.train(['some other text'] * 9, 300)
  (copy / 'prepare' / 'tokenizer.model').write_bytes(other)
  fails('was trained with tokenizer', config_of(), copy)
