"""TRL's SFTTrainer on flat rows: its collator without padding, and its loss.

On a CPU there is no varlen kernel: transformers makes a block-diagonal mask of
the positions for torch's own attention. Trees are not to be had for supervised
rows, only in TRL's AsyncGRPOTrainer, for GPUs.
"""

import tempfile

import worker


class Trl:
  """The peer; see `worker.serve`."""

  def __init__(self, settings):
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM
    from trl import SFTConfig, SFTTrainer

    torch.set_num_threads(settings.threads)
    self._torch = torch
    rows = [_examples(b) for b in worker.batches(settings.rows)]
    self._folder = tempfile.TemporaryDirectory()
    arguments = SFTConfig(
      output_dir=self._folder.name,
      use_cpu=True,
      bf16=False,
      gradient_checkpointing=False,
      padding_free=True,
      max_length=None,
      dataset_kwargs={'skip_prepare_dataset': True},
      learning_rate=settings.rate,
      lr_scheduler_type='constant',
      optim='adamw_torch_fused',
      adam_beta2=0.95,
      weight_decay=0.0,
      max_grad_norm=1.0,
      report_to='none',
    )
    self._trainer = SFTTrainer(
      model=AutoModelForCausalLM.from_pretrained(
        settings.model, dtype=torch.float32, attn_implementation='sdpa'
      ),
      args=arguments,
      train_dataset=Dataset.from_list(rows[0]),
      processing_class=_words(settings.model),
    )
    self._trainer.create_optimizer()
    collate = self._trainer.data_collator
    self._batches = [collate(row) for row in rows]
    self._probe = collate(_examples(worker.batches(settings.probe)[0]))

  def probe(self):
    with self._torch.no_grad():
      return self._trainer.compute_loss(
        self._trainer.model, dict(self._probe)
      ).item()

  def update(self, number):
    trainer, batch = self._trainer, self._batches[number]
    scored = (batch['labels'] != -100).sum()
    trainer.training_step(trainer.model, dict(batch), scored)
    trainer.accelerator.clip_grad_norm_(trainer.model.parameters(), 1.0)
    trainer.optimizer.step()
    trainer.optimizer.zero_grad()


def _examples(batch):
  """The sequences of a batch, with labels where they are scored."""
  return [
    {
      'input_ids': one['tokens'].tolist(),
      'labels': [
        int(token) if weight else -100
        for token, weight in zip(one['tokens'], one['weight'], strict=True)
      ],
    }
    for one in worker.documents(batch)
  ]


def _words(folder):
  """A tokenizer that is asked for nothing but its padding."""
  from tokenizers import Tokenizer, models
  from transformers import PreTrainedTokenizerFast

  vocabulary = Tokenizer(models.WordLevel({'[PAD]': 0}, unk_token='[PAD]'))
  return PreTrainedTokenizerFast(
    tokenizer_object=vocabulary, pad_token='[PAD]', eos_token='[PAD]'
  )


if __name__ == '__main__':
  worker.main(Trl)
