"""tunix's PeftTrainer on flat rows: its own loss, a block-diagonal mask.

Its trainer refuses to pack, but its model takes positions and any mask.
"""

import json
import pathlib

import worker


class Tunix:
  """The peer; see `worker.serve`."""

  def __init__(self, settings):
    import jax
    import optax
    from tunix.models.llama3 import model, params
    from tunix.sft import peft_trainer

    self._jax = jax
    path = pathlib.Path(settings.model) / 'config.json'
    known = json.loads(path.read_text('utf-8'))
    cfg = model.ModelConfig(
      num_layers=known['num_hidden_layers'],
      vocab_size=known['vocab_size'],
      embed_dim=known['hidden_size'],
      hidden_dim=known['intermediate_size'],
      num_heads=known['num_attention_heads'],
      head_dim=known['head_dim'],
      num_kv_heads=known['num_key_value_heads'],
      rope_theta=1_000_000,
      norm_eps=known['rms_norm_eps'],
      weight_tying=known['tie_word_embeddings'],
    )
    axes = (jax.sharding.AxisType.Auto,) * 2
    mesh = self._mesh = jax.make_mesh((1, 1), ('fsdp', 'tp'), axis_types=axes)
    with mesh:
      made = params.create_model_from_safe_tensors(
        settings.model, cfg, mesh, jax.numpy.float32
      )
      self._trainer = peft_trainer.PeftTrainer(
        made,
        optax.chain(
          optax.clip_by_global_norm(1.0),
          optax.adamw(settings.rate, b2=0.95, weight_decay=0.0),
        ),
        peft_trainer.TrainingConfig(eval_every_n_steps=1 << 30),
      )
      self._trainer.with_gen_model_input_fn(_inputs)
      self._update, self._evaluate = self._trainer.jit_train_and_eval_step()
    self._batches = worker.batches(settings.rows)
    self._probe = worker.batches(settings.probe)[0]

  def probe(self):
    with self._mesh:
      loss, _ = self._evaluate(_read(self._probe))
      return loss

  def update(self, number):
    with self._mesh:
      loss, _, norm = self._update(_read(self._batches[number]))
      self._jax.block_until_ready((loss, norm))
      self._jax.block_until_ready(self._jax.tree.leaves(self._trainer.model))


def _read(batch):
  return {k: batch[k] for k in ('tokens', 'depth', 'weight')}


def _inputs(batch):
  """What tunix's loss takes; made within its jitted step."""
  import jax.numpy as jnp

  depth_BT = batch['depth']
  document_BT = jnp.cumsum(depth_BT == 0, axis=1)
  place_T = jnp.arange(depth_BT.shape[1])
  same_BTS = document_BT[:, :, None] == document_BT[:, None]
  return {
    'input_tokens': batch['tokens'],
    'input_mask': batch['weight'] > 0,
    'positions': depth_BT,
    'attention_mask': same_BTS & (place_T[None] <= place_T[:, None])[None],
  }


if __name__ == '__main__':
  worker.main(Tunix)
