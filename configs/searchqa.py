"""SearchQA: questions of several hops, answered after searches.

  DATA is a folder with corpus.jsonl (wiki-18 of Search-R1) and questions:
  train.jsonl and test.jsonl (MuSiQue), hotpotqa.jsonl, 2wikimultihopqa.jsonl,
  bamboogle.jsonl. The index is made once, for all processes:
    python -m early_experience.envs.searchqa.index --data=DATA --index=INDEX
  then
    for stage in collect explore summarise reflect prepare train evaluate report
    do
      python -m early_experience.$stage --config=configs/searchqa.py \
          --config.env.kwargs.data=DATA --config.env.kwargs.index=INDEX \
          --config.init.hf=/checkpoints/Llama-3.1-8B-Instruct \
          --config.explore.openai.base_url=URL \
          --config.explore.openai.model=MODEL \
          --config.summarise.openai.base_url=URL \
          --config.summarise.openai.model=MODEL \
          --config.reflect.openai.base_url=URL \
          --config.reflect.openai.model=MODEL --workdir=runs/searchqa
    done
  Without DATA a made-up world for tests is played, which is no benchmark.

The paper's numbers (appendix B.5): 2,082 trajectories of 7,691 decisions, 30
alternatives of the model itself at temperature 1, what is no action among them,
outcomes as summaries, 2 alternatives in a reflection, batch 128, 3 epochs,
paths of 8,192 tokens, 500 questions of each test set. Its experts are rollouts
of Search-R1 (--config.env.kwargs.trajectories=FILE); without them an expert
follows the decomposition that MuSiQue has of each question.
"""

from early_experience import cards, recipes


def get_config(recipe: str = 'world_model_then_imitation'):
  config = cards.of_environment(
    'searchqa', k=30, decisions=7691, batch=128, epochs=3, tokens=8192
  )
  config.env.kwargs.data = 'fixture'
  config.env.kwargs.index = ''
  config.env.kwargs.trajectories = ''
  config.collect.trajectories = 2082
  config.collect.max_steps = 10

  config.explore.proposers.uniform = 0.0  # nothing lists the queries there are
  config.explore.proposers.openai = 1.0
  config.explore.openai.temperature = 1.0
  config.explore.openai.max_tokens = 256
  config.summarise.enabled = True
  config.reflect.writer = 'openai'
  config.reflect.k = 2
  config.reflect.invalid = 'keep'

  config.train.microbatches = 8

  config.evaluate.splits = ('test', 'hotpotqa', '2wikimultihopqa', 'bamboogle')
  config.evaluate.tasks = 500
  config.evaluate.max_steps = 10
  return recipes.select(config, recipe)
