"""Episodes that a server samples: the same tokens make the same updates."""

import contextlib
import shutil
import sys
import zlib

import jax
import numpy as np
import pytest

from early_experience import collect, convert, prepare, rl, train
from early_experience.evaluation.agent import Decoding
from early_experience.evaluation.decisions import Request
from early_experience.experience import render
from early_experience.language import completions
from early_experience.language.answer import Failure
from early_experience.model import sharding
from early_experience.reinforcement import (
  batches,
  handover,
  members,
  rows,
  sampling,
  scoring,
  served,
)
from early_experience.runtime.errors import UserError
from early_experience.tokenizers import saved
from early_experience.training import architecture, initial, restore
from tests import test_rl
from tests.test_rl import GROUP, episodes, lines, make

for needed in ('openai', 'torch', 'transformers', 'peft'):
  pytest.importorskip(needed)

from tests.fake_vllm import FakeVllm  # noqa: E402

TASKS = 2


def config_of(server=None, **changes):
  """Of adapters beside the training `joint`; two iterations."""
  config = test_rl.config_of(rl__iterations=2, rl__tasks=TASKS)
  config.rl.invalid_penalty = 0.1  # so that no group is without variance
  config.model.lora_rank = 4
  config.evaluate.constrained = False
  config.evaluate.max_action_tokens, config.evaluate.max_steps = 12, 3
  if server:
    config.rl.sampler = 'served'
    config.rl.served.update(base_url=server.url, model='base', retries=0)
  for key, value in changes.items():
    group, _, name = key.partition('__')
    config[group][name] = value
  return config


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  """A training, an export of it, and what our own decoder learns."""
  workdir = tmp_path_factory.mktemp('run')
  config = test_rl.config_of()
  collect.collect_from(make(), config, workdir)
  prepare.prepare(config, workdir)
  train.train(config, workdir)
  convert.to_hf(workdir / 'train' / 'joint', workdir / 'export')
  rl.rl_in(make, config_of(), workdir)
  return workdir


def copied(workdir, to):
  for name in ('prepare', 'train', 'collect'):
    shutil.copytree(workdir / name, to / name)
  return to


def said(workdir):
  """What our own decoder said, by prompt and seed."""
  tokenizer, found = saved.load(workdir / 'prepare'), {}
  for iteration in range(2):
    for record in episodes(workdir, iteration):
      script = render.opening(
        record['instruction'], record['steps'][0]['observation']
      )
      after = [step['observation'] for step in record['steps'][1:]]
      for i, step in enumerate(record['steps']):
        key = f'0/{iteration}/{record["task_id"]}#{record["member"]}/{i}'
        prompt = tokenizer.encode_prompt(script, 'action')
        (one,) = step['said']
        cut = one['ids'][:11]  # the end of 12 is forced
        found[tuple(prompt), zlib.crc32(key.encode())] = cut
        if i < len(after):
          script += render.exchange(step['action'], after[i])
  return found


def adapters(workdir):
  config = config_of()
  folder = workdir / 'rl' / 'joint' / 'checkpoints'
  mesh = sharding.make_mesh(config.mesh)
  with jax.set_mesh(mesh):
    cfg, _ = architecture.read(folder)
    base = initial.policy(workdir / 'train' / 'joint', cfg, mesh)
    return jax.device_get(restore.load_params(folder, cfg, mesh, base))


def test_the_same_tokens_make_the_same_updates_whoever_samples(
  workdir, tmp_path
):
  copied(workdir, tmp_path)
  with FakeVllm(workdir / 'export', said(workdir)) as server:
    config = config_of(server)
    calls = server._completions

    def breaks(request):
      server.broken = len(server.models) > 1 and len(lines_of(tmp_path)) == 1
      return calls(request)

    server._completions = breaks
    with pytest.raises(UserError, match='does not go on|answered none'):
      rl.rl_in(make, config, tmp_path)
    assert len(lines_of(tmp_path)) == 1
    server._completions, server.broken = calls, False
    rl.rl_in(make, config, tmp_path)
    loaded = [name for name in server.models if name != 'base']
  assert len(loaded) == 1  # those of older updates are gone
  served = tmp_path / 'rl' / 'joint' / 'served'
  assert [path.name for path in served.iterdir()] == loaded
  for iteration in range(2):
    key = lambda record: (record['task_id'], record['member'])
    ours = sorted(episodes(workdir, iteration), key=key)
    theirs = sorted(episodes(tmp_path, iteration), key=key)
    assert len(theirs) == GROUP * TASKS
    for a, b in zip(ours, theirs, strict=True):
      for one, other in zip(a['steps'], b['steps'], strict=True):
        (one,), (other,) = one['said'], other['said']
        assert one['ids'] == other['ids']
        np.testing.assert_allclose(one['logps'], other['logps'], atol=1e-4)
  for one, other in zip(lines(workdir), lines(tmp_path), strict=True):
    assert one.keys() == other.keys()
    for name in ('success/rate', 'panel/rate', 'updates', 'tokens_tree'):
      assert one.get(name) == other.get(name)
    for name in ('loss', 'grad_norm', 'entropy'):
      if one.get(name) is not None:
        assert other[name] == pytest.approx(one[name], rel=1e-3, abs=1e-6)
    assert other.get('gap_max', 0) < 1e-4
  assert sum(line.get('updates', 0) for line in lines(tmp_path)) == 2
  lr = config.rl.lr_peak
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=0.01 * lr),
    adapters(tmp_path),
    adapters(workdir),
  )


def lines_of(workdir):
  there = (workdir / 'rl' / 'joint' / 'metrics.jsonl').exists()
  return lines(workdir) if there else []


@contextlib.contextmanager
def case(workdir, server, rank=0, export=None, **changes):
  """The training, and a server that it can be handed to.

  Yields parameters, the `Server`, and a function that plays three tasks and
  scores what was said.
  """
  config = config_of(server, **changes)
  config.model.lora_rank = rank
  config.init.checkpoint = str(workdir / 'train' / 'joint')
  config.rl.served.reload = f"{sys.executable} -c '{RELOAD}' {server.url}"
  config.rl.served.folder = str(export or workdir / 'adapters')
  tokenizer = saved.load(workdir / 'prepare')
  cfg, source = initial.resolve(config, tokenizer, workdir / 'none')
  mesh = sharding.make_mesh(config.mesh)
  with jax.set_mesh(mesh):
    params = initial.params(source, cfg, mesh, 0)
    there = handover.Server(config, cfg, tokenizer, mesh, source, workdir)
    seats, tasks = members.here(make), make().tasks('train')[:3]
    sampler = sampling.Sampler(seats, config, cfg, tokenizer, mesh, 4, there)

    def play(params):
      found = sampler.group_records(params, tasks, GROUP, 0)
      each = [[(record, np.ones(len(record['steps'])))] for record in found]
      made = rows.make(each, tokenizer, cfg.max_tokens)
      scores = batches.Scores()
      scorer = scoring.Scorer(cfg, tokenizer.vocab_size, mesh, 2, 2.0)
      scorer.add(made.rows, params, None, scores)
      return found, scores

    yield params, there, play


RELOAD = (
  'import sys, urllib.request as u;'
  'u.urlopen(u.Request(sys.argv[1] + "/reload", b"{}"))'
)


@pytest.mark.parametrize('think, shift', [(False, -0.05), (True, 0)])
def test_it_reads_and_says_what_our_own_decoder_would(workdir, think, shift):
  """And what it says of its tokens stands beside what the trainer says."""
  how = {'evaluate__think': think, 'evaluate__max_thought_tokens': 10}
  with (
    FakeVllm(workdir / 'export', shift=shift) as server,
    case(workdir, server, rank=4, **how) as (params, _, play),
  ):
    found, scores = play(params)
  assert len(found) == 3 * GROUP and scores.count > 50
  assert abs(scores.most + shift) < 1e-4
  assert abs(scores.gap / scores.count + shift) < 1e-4
  longest = {'thought': 10, 'action': 12} if think else {'action': 12}
  stop_ids = saved.load(workdir / 'prepare').stop_ids
  for step in (step for record in found for step in record['steps']):
    assert [one['role'] for one in step['said']] == list(longest)
    for one in step['said']:
      assert len(one['ids']) <= longest[one['role']]
      assert one['logps'][-1] == 0 or len(one['ids']) < longest[one['role']]
      assert one['ids'][-1] in stop_ids
  own = {'temperature': 1.0, 'top_p': 1.0, 'top_k': -1, 'min_p': 0.0}
  own |= {'repetition_penalty': 1.0, 'ignore_eos': True}
  for request in server.requests:
    assert {key: request[key] for key in own} == own
    assert all(isinstance(token, int) for token in request['prompt'])
  # All of one task begin alike, and no two have one chance.
  assert len({request['seed'] for request in server.requests}) > 3 * GROUP


def test_all_parameters_go_by_an_export_and_a_command(workdir, tmp_path):
  export = shutil.copytree(workdir / 'export', tmp_path / 'export')
  names = sorted(path.name for path in export.iterdir())
  before = (export / 'model.safetensors').read_bytes()
  with (
    FakeVllm(export) as server,
    case(workdir, server, export=export) as (params, there, play),
  ):
    there.hand_over(params)
    assert (export / 'model.safetensors').read_bytes() == before
    params = jax.tree.map(lambda x: 1.5 * x, params)
    assert play(params)[1].most < 1e-4
    assert (export / 'model.safetensors').read_bytes() != before
    assert sorted(path.name for path in export.iterdir()) == names
    there._settings.reload = 'false'
    with pytest.raises(UserError, match="reload='false' ended with 1"):
      there.hand_over(jax.tree.map(lambda x: 2 * x, params))
    there._settings.reload = 'true'  # it does nothing
    with pytest.raises(UserError, match='serves another policy .* reads from'):
      there.hand_over(jax.tree.map(lambda x: 2 * x, params))


def test_adapters_need_a_server_that_takes_them_and_has_their_base(workdir):
  with (
    FakeVllm(workdir / 'export', loads=False) as server,
    case(workdir, server, rank=4) as (params, there, _),
    pytest.raises(UserError, match='VLLM_ALLOW_RUNTIME_LORA_UPDATING'),
  ):
    there.hand_over(params)
  with (
    FakeVllm(workdir / 'export') as server,
    case(workdir, server, rank=4) as (params, there, _),
  ):
    other = server.models['base']
    for weights in other.parameters():
      weights.data *= 1.5
    server._load = lambda: other
    with pytest.raises(UserError, match='serves another policy') as error:
      there.hand_over(params)
    assert '\n' not in str(error.value)


def fails(match, config, workdir):
  with pytest.raises(UserError, match=match) as error:
    rl.rl_in(make, config, workdir)
  assert '\n' not in str(error.value)
  assert not (workdir / 'rl' / config.name).exists()


@pytest.mark.parametrize(
  'how, match',
  [
    ({'tells': ('token_ids', 'ends')}, 'tells no log-probabilities'),
    ({'tells': ('logprobs', 'ends')}, 'tells no token ids'),
    ({'tells': ('logprobs', 'token_ids')}, 'leaves the token that ends'),
  ],
)
def test_a_server_that_does_not_tell_enough_is_refused(workdir, how, match):
  with (
    FakeVllm(workdir / 'export', **how) as server,
    pytest.raises(UserError, match=match) as error,
  ):
    completed(server)
  assert '\n' not in str(error.value)


def test_ids_may_be_written_as_text(workdir):
  found = []
  for form in ('token_ids', 'strings'):
    with FakeVllm(workdir / 'export', tells=('logprobs', form)) as server:
      found.append(completed(server, stop_ids=()))
  assert found[0] == found[1] and len(found[0].ids) == 3


def completed(server, stop_ids=tuple(range(1000))):
  """What it says to a prompt; here any token ends an answer."""
  settings = config_of(server).rl.served
  client = completions.Completions(settings, 'config.x', stop_ids)
  (answer,) = client.send([completions.Prompt([5, 6, 7], 3, 1.0, 0)])
  return answer


def test_bad_settings_are_one_line_and_leave_nothing(workdir, tmp_path):
  copied(workdir, tmp_path)
  with FakeVllm(workdir / 'export', reads=100) as server:
    match = 'reads 100 tokens, fewer than .* --max-model-len 160'
    fails(match, config_of(server), tmp_path)
    config = config_of(server)
    config.rl.served.model = 'other'
    fails('has no model of that name, but base', config, tmp_path)
    config = config_of(server, evaluate__constrained=True)
    fails('constrained=True holds no model', config, tmp_path)
    config = config_of(server)
    config.model.lora_rank = 0
    fails('folder and .reload are needed', config, tmp_path)
    config.init.hf, config.rl.start = str(workdir / 'export'), 'init'
    by_another_name = tmp_path / 'by_another_name'
    by_another_name.symlink_to(workdir / 'export')
    config.rl.served.folder = str(by_another_name)
    config.rl.served.reload = 'true'
    fails('where the parameters come from', config, tmp_path)
  config = config_of(server)
  fails('does not answer', config, tmp_path)


@pytest.mark.parametrize('think', [False, True])
def test_a_server_that_answers_nobody_is_given_up(think):
  """Also where nobody is left to be asked for an action."""

  class Silent:
    address, asked = 'http://server', 0

    def send(self, prompts):
      self.asked += len(prompts)
      return [Failure('timeout', 'no answer') for _ in prompts]

  class Coder:
    stop_ids = (1,)

    def encode_prompt(self, script, role):
      return [2, 3]

  client = Silent()
  policy = served.Served(client, Coder(), 100, Decoding(think=think))
  requests = [Request('a/0', render.opening('Go.', 'A room.'), None)] * 4
  with pytest.raises(UserError, match='answered none of 8 requests'):
    for _ in range(3):
      policy.act(requests)
  assert client.asked == 8
