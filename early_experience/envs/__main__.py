"""Lists every environment: is it here, what it has, what it needs.

python -m early_experience.envs [NAME ...]

One of your own is `module.path:Class`, as in `config.env.name`.
"""

import shutil

from early_experience.envs import catalogue, registry
from early_experience.runtime import commands


@commands.one_line
def main() -> None:
  parser = commands.parser('envs', __doc__)
  parser.add_argument('names', nargs='*', metavar='NAME')
  parser.add_argument(
    '--timeout_seconds', type=float, default=120.0, help='for each environment'
  )
  arguments = parser.parse_args()
  for name in arguments.names:
    registry.kind_of(name)  # before any of them is asked
  found = catalogue.described(
    arguments.names or sorted(registry.ENVIRONMENTS),
    arguments.timeout_seconds,
  )
  print(catalogue.table(found, shutil.get_terminal_size((100, 24)).columns))


if __name__ == '__main__':
  main()
