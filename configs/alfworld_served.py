"""ALFWorld as the paper's appendix B.1 has it, by a model behind an endpoint.

  for stage in collect explore reflect prepare train evaluate report; do
    python -m early_experience.$stage \
        --config=configs/alfworld_served.py:joint \
        --config.init.hf=FOLDER --config.explore.openai.model=MODEL \
        --config.reflect.openai.model=MODEL \
        --config.explore.openai.base_url=URL \
        --config.reflect.openai.base_url=URL --workdir=runs/alfworld_served
  done

MODEL is what a server calls the checkpoint of FOLDER. One exploration serves
both methods: the world model learns from 8 actions drawn uniformly, and
rationales weigh up to 3 of the model's own at temperature 1, where one that is
not listed gives way to a listed one. With prices of a million tokens
(--config.explore.openai.input_price=...) each stage says first what it may
cost, and above --config.explore.openai.max_cost=... it asks for --yes.
"""

from early_experience import cards, recipes

_UNIFORM, _OWN = 8, 3


def get_config(recipe: str = 'joint'):
  config = cards.pretrained()
  config.explore.k = _UNIFORM + _OWN
  config.explore.proposers.uniform = float(_UNIFORM)
  config.explore.proposers.openai = float(_OWN)
  config.explore.openai.prompt = 'proposer-1'
  config.explore.openai.max_tokens = 256  # of a thought and its action

  config.reflect.writer = 'openai'
  config.reflect.k = _OWN
  config.reflect.openai.temperature = 1.0

  config.prepare.rows = recipes.row_sets(recipes.PAPER, k=_UNIFORM)
  for rows in config.prepare.rows.values():
    rows.proposers = ('uniform',)
  return recipes.select(config, recipe)
