"""A real vLLM samples episodes, by adapters that it is handed at runtime.

It is tried where one is installed; see real_servers.py.
"""

import jax
import numpy as np

from early_experience.config import default
from early_experience.model import sharding, table
from early_experience.reinforcement import (
  batches,
  handover,
  members,
  rows,
  sampling,
  scoring,
)
from early_experience.tokenizers import saved
from early_experience.training import initial
from tests import real_servers
from tests.test_served import TEMPLATE, exported  # noqa: F401
from tests.toy_env import ToyEnv

RANK = 8


def config_of(url, folder):
  config = default()
  config.name = 'tiny'
  config.init.hf = str(folder)
  config.mesh.fsdp = 1
  config.model.update(lora_rank=RANK, max_tokens=512)
  config.evaluate.max_steps, config.evaluate.max_action_tokens = 2, 12
  config.evaluate.think = False
  config.rl.update(sampler='served', batch_rows=2)
  config.rl.served.update(base_url=url, model='base', retries=1)
  return config


def test_it_says_what_the_trainer_would_of_each_adapter(
  request, tmp_path, monkeypatch
):
  *command, last = real_servers.find('vllm')  # first of all: it may skip
  command += ['--enable-lora', '--max-lora-rank', str(RANK)]
  command += ['--served-model-name', 'base', last]
  monkeypatch.setenv('VLLM_ALLOW_RUNTIME_LORA_UPDATING', 'True')
  monkeypatch.delenv('OPENAI_API_KEY', raising=False)
  folder = request.getfixturevalue('exported') / 'hf'
  tokenizer = saved.load(folder, template_kwargs=TEMPLATE)
  with real_servers.started(command, folder, tmp_path / 'server.log') as url:
    config = config_of(url, folder)
    cfg, source = initial.resolve(config, tokenizer, tmp_path)
    mesh = sharding.make_mesh(config.mesh)
    with jax.set_mesh(mesh):
      server = handover.Server(config, cfg, tokenizer, mesh, source, tmp_path)
      seats, tasks = members.here(ToyEnv), ToyEnv().tasks('train')[:2]
      sampler = sampling.Sampler(seats, config, cfg, tokenizer, mesh, 4, server)
      fresh = initial.params(source, cfg, mesh, 0)
      scorer = scoring.Scorer(cfg, tokenizer.vocab_size, mesh, 2, 2.0)

      def apart(records, params):
        each = [[(r, np.ones(len(r['steps'])))] for r in records]
        scores = batches.Scores()
        made = rows.make(each, tokenizer, cfg.max_tokens)
        scorer.add(made.rows, params, None, scores)
        return scores.gap / scores.count, scores.most

      for params in (fresh, learnt(fresh)):
        found = sampler.group_records(params, tasks, 2, 0)
        assert len(found) == 4 and not any('reason' in one for one in found)
        mean, most = apart(found, params)
        assert mean < 1e-3 and most < 1e-2
      assert apart(found, fresh)[0] > 0.1  # the adapter is at work


def learnt(params):
  """Adapters that add something."""
  rng = np.random.default_rng(0)
  flat = {
    path: jax.device_put(
      rng.normal(0, 0.3, x.shape).astype(x.dtype), x.sharding
    )
    if path.endswith('_lora_b')
    else x
    for path, x in table.flat(params).items()
  }
  return table.nested(flat)
