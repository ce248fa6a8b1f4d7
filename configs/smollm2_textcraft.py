"""SmolLM2-135M-Instruct on TextCraft, where words must be copied.

  sh launch/smollm2.sh runs/smollm2
  for stage in collect explore reflect prepare train evaluate report; do
    python -m early_experience.$stage --workdir=runs/smol_craft \
        --config=configs/smollm2_textcraft.py:recovery \
        --config.init.hf=runs/smollm2
  done
60 experts, free text. A model of configs/textcraft.py's size learns nothing of
this from scratch; what this one came to is in docs/LOG.md.
"""

from configs import smollm2_135m, textcraft
from early_experience import recipes


def get_config(recipe: str = 'recovery'):
  craft = textcraft.get_config()
  config = smollm2_135m.get_config()
  config.env = craft.env
  config.explore.k = 4
  config.reflect.k = craft.reflect.k
  config.prepare.rows = recipes.row_sets(
    ('expert', 'world', 'recovery'), config.explore.k
  )
  # One that the environment rejects, beside the episode that it is tried in:
  # so few updates as these have nothing to spare for more.
  config.prepare.rows.recovery.proposers = ('recalled',)
  config.prepare.rows.recovery.k = 1
  config.budget.joint_share = 1.0
  config.budget.lr_peak = 1e-4
  config.model.max_tokens = 2048  # half of the episodes outgrow 1,024
  config.evaluate.splits = craft.evaluate.splits
  config.evaluate.max_steps = 30
  return recipes.select(config, recipe)
