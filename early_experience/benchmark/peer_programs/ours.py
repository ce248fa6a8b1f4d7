"""This project's train step, on trees or on flat rows."""

import worker


class Ours:
  """The peer; see `worker.serve`."""

  def __init__(self, settings):
    import jax
    import jax.numpy as jnp

    from early_experience import config as config_lib
    from early_experience.hf import read
    from early_experience.model import sharding
    from early_experience.training import loss, optimizer, train_step

    self._jax, self._put = jax, sharding.put_batch
    cfg = _config(settings.model)
    mesh = self._mesh = sharding.machine_mesh(cfg.embed)
    stage = config_lib.stage(
      lr_peak=settings.rate, decay='constant', steps=1 << 20
    )
    self._batches = [_scored(b) for b in worker.batches(settings.rows)]
    probe = _scored(worker.batches(settings.probe)[0])
    tx = optimizer.make_optimizer(stage, cfg)
    with jax.set_mesh(mesh):
      params = read.read_params(settings.model, cfg, mesh)

      def mean_nll(params, batch):
        sums = loss.sums(params, batch, cfg)
        return jnp.sum(sums.nll_O) / jnp.sum(sums.weight_O)

      self._probe = sharding.put_batch(probe, mesh)
      self._mean_nll = jax.jit(mean_nll)
      self._state = train_step.new_state(params, cfg, tx, mesh)
      self._step = train_step.make_train_step(cfg, tx, stage, 1)

  def probe(self):
    with self._jax.set_mesh(self._mesh):
      return self._mean_nll(self._state.params, self._probe)

  def update(self, number):
    with self._jax.set_mesh(self._mesh):
      batch = self._put(self._batches[number], self._mesh)
      self._state, metrics = self._step(self._state, batch)
      self._jax.block_until_ready((self._state, metrics))


def _config(folder):
  """What config.json says of the model, and how it is computed."""
  import json
  import pathlib

  from early_experience.config import model
  from early_experience.hf import architecture
  from early_experience.model import config

  settings = model()
  settings.update(architecture.read(folder))
  runtime = pathlib.Path(folder) / 'runtime.json'
  settings.update(json.loads(runtime.read_text('utf-8')))
  return config.from_config(settings, settings.vocab_size)


def _scored(batch):
  """With the weights of the first objective alone."""
  import numpy as np

  from early_experience.experience.render import OBJECTIVES

  weight = batch['weight']
  weights = np.zeros((*weight.shape, len(OBJECTIVES)), np.float32)
  weights[..., 0] = weight
  rest = {k: v for k, v in batch.items() if k != 'weight'}
  return rest | {'weights': weights}


if __name__ == '__main__':
  worker.main(Ours)
