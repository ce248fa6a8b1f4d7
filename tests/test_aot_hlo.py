"""What is read from HLO: how often, how many bytes, between whom."""

import pathlib

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding

from early_experience.aot import collectives, hlo
from tests.training_case import mesh_of

# As XLA writes for TPUs: no loop says how often it runs; the number of rows is
# handed through the outer loop; an asynchronous gather stands at its start and
# at its end; a sum that is scattered is one operation; one between slices is
# sent.
TPU = (pathlib.Path(__file__).parent / 'tpu_step.hlo').read_text()


def compiled_text(function, mesh, **shapes):
  """The HLO of a function of float32 arrays, given with their partitions."""
  arrays = {
    name: jax.ShapeDtypeStruct(
      shape, jnp.float32, sharding=NamedSharding(mesh, jax.P(*partition))
    )
    for name, (shape, partition) in shapes.items()
  }
  with jax.set_mesh(mesh):
    return jax.jit(function).lower(**arrays).compile().as_text()


def found_in(text, devices=8, slices=1):
  return collectives.find(hlo.Module(text), devices, slices)


def test_bytes_equal_a_count_by_hand():
  def function(w_LDF, x_BD):
    def layer(x_BD, w_DF):
      w_DF = jax.reshard(w_DF, jax.P(None, None))
      return jnp.tanh(x_BD @ w_DF), None

    return jax.lax.scan(layer, x_BD, w_LDF)[0].sum()

  text = compiled_text(
    function,
    mesh_of((1, 8, 1)),
    w_LDF=((5, 32, 32), (None, 'fsdp', None)),
    x_BD=((16, 32), ('fsdp', None)),
  )
  assert collectives.by_kind(found_in(text)) == {
    'all-gather': (5, 5 * 32 * 32 * 4),  # each layer once, whole
    'all-reduce': (1, 4),  # the sum
  }


def test_a_loop_whose_length_the_data_decide_counts_once_and_says_so():
  def function(x_B):
    return jax.lax.while_loop(
      lambda x_B: x_B.sum() < 10, lambda x_B: x_B * 2, x_B
    )

  text = compiled_text(function, mesh_of((1, 8, 1)), x_B=((8,), ('fsdp',)))
  found = found_in(text)
  assert found and not any(one.sure for one in found)


def test_loops_gathers_and_scatters_are_read_as_tpus_write_them():
  gather, sent, scatter = sorted(
    found_in(TPU, slices=2), key=lambda one: one.kind
  )
  assert gather.kind == 'all-gather' and gather.sure
  assert gather.times == (4 - 1) * 3  # layers from 1 to 4, 3 rows each
  assert gather.bytes == 16 * 8 * 2
  assert (gather.group, gather.slices) == (4, 1)
  # What goes to the other slice is sent by the host.
  assert (sent.kind, sent.slices) == ('all-reduce', 2)
  assert sent.sent == (0, 16 * 8 * 2)
  assert (scatter.kind, scatter.times) == ('reduce-scatter', 1)
  assert scatter.bytes == 16 * 8 * 2
  assert scatter.source == 'jit(step)/scatter'


@pytest.mark.parametrize(
  'groups, expected',
  [
    ('replica_groups={{0,4},{1,5},{2,6},{3,7}}, x', (2, 2)),
    ('replica_groups={}, x', (8, 2)),
    ('replica_groups=[4,2]<=[2,4]T(1,0), x', (2, 2)),
    ('replica_groups=[2,4]<=[8], x', (4, 1)),
    ("replica_groups=mesh['a'=2,'b'=4] {'a'}, x", (2, 2)),
    ("replica_groups=mesh['a'=2,'b'=2,'c'=2] {'a','c'}, x", (4, 2)),
  ],
)
def test_a_group_says_who_is_on_which_slice(groups, expected):
  text = TPU.replace("replica_groups=mesh['a'=2,'b'=4] {'b'},", groups[:-1])
  gather = min(found_in(text, slices=2), key=lambda one: one.kind)
  assert (gather.group, gather.slices) == expected


@pytest.mark.parametrize(
  'kind, group, slices, expected',
  [
    ('all-gather', 4, 1, (0.75, 0)),
    ('all-reduce', 4, 1, (1.5, 0)),
    ('reduce-scatter', 8, 2, (0.75, 0.125)),
    ('all-reduce', 8, 2, (1.5, 0.25)),  # a quarter each, to the other slice
    ('all-reduce', 2, 2, (0, 1)),
    ('collective-permute', 8, 1, (1, 0)),
  ],
)
def test_what_is_sent_is_the_least_that_can_be(kind, group, slices, expected):
  own = 1024 // group if kind == 'all-gather' else 1024
  one = collectives.Collective(
    kind, (hlo.Array('u8', (own,)),), group, slices, 1, True, ''
  )
  assert one.bytes == 1024
  assert one.sent == tuple(1024 * x for x in expected)
