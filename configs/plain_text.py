"""Plain text before any experience: a first stage of configs/quickstart.py.

runs/text/iwm.jsonl has a text a line, {"text": "..."}, as corpora have them:
  python -m early_experience.quickstart --config=configs/quickstart.py \
      --config.quickstart.first=configs/plain_text.py --workdir=runs/after_text
All of it is learnt, under the objective of the world model; the vocabulary is
learnt from it, too.
"""

from configs import quickstart
from early_experience import recipes


def get_config(recipe: str = 'world_model'):
  config = quickstart.get_config(recipe)
  config.quickstart.chats = 'runs/text'
  config.prepare.source = 'import'
  config.prepare.rows = recipes.row_sets(('world',), k=0)
  return config
