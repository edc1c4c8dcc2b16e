"""Do trainings with torch, also in several processes, arrive as one run with each point once?

Torch weighs 5 GB: its frameworks have an environment apart, in which these programs run.
"""

from __future__ import annotations

import subprocess

import pytest

from trackyard import Client

pytestmark = pytest.mark.long(reason="frameworks with torch, in an environment of 5 GB")

LIGHTNING = """
import sys
import lightning, torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, TensorDataset
from trackyard_integrations.lightning import TrackyardLogger

class Net(lightning.LightningModule):
    def __init__(self, optimizer=None, broken=False):
        super().__init__()
        self.save_hyperparameters()
        self.net = torch.nn.Linear(2, 1)
    def loss(self, batch):
        return ((self.net(batch[0]) - batch[1]) ** 2).mean()
    def on_train_start(self):
        self.logger.log_image("seen", [torch.zeros(4, 4, 3, dtype=torch.uint8).numpy()])
    def training_step(self, batch, index):
        if self.hparams.broken and index == 2:
            raise ValueError("broken")
        loss = self.loss(batch)
        self.log("train_loss", loss)
        return loss
    def validation_step(self, batch, index):
        self.log("val_loss", self.loss(batch), sync_dist=True)
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

def loader():
    x = torch.randn(64, 2)
    return DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=16)

class Sharded(Net):
    # Each process has a half of the parameters: FSDP, as torch has it for CPUs, too.
    def configure_model(self):
        from torch.distributed.fsdp import fully_shard
        fully_shard(self.net, mesh=self.device_mesh["data_parallel"])

def trainer(logger, **more):
    best = ModelCheckpoint(monitor="val_loss")
    return lightning.Trainer(max_epochs=2, accelerator="cpu", logger=logger, log_every_n_steps=1,
        enable_progress_bar=False, enable_model_summary=False, callbacks=[best], **more)

if __name__ == "__main__":
    logger = TrackyardLogger(log_model=True)
    if sys.argv[1] == "twice":
        for _ in range(2):
            trainer(logger).fit(Net({"lr": 0.1}), loader(), loader())
    elif sys.argv[1] == "broken":
        try:
            trainer(logger).fit(Net({"lr": 0.1}, True), loader(), loader())
        except ValueError:
            pass
    else:
        net, strategy = Net({"lr": 0.1}), sys.argv[1]
        if strategy == "fsdp":
            net = Sharded({"lr": 0.1})
            strategy = lightning.pytorch.strategies.ModelParallelStrategy(2, 1)
        trainer(logger, strategy=strategy, devices=2).fit(net, loader(), loader())
"""
TRANSFORMERS = """
import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments
from trackyard_integrations.transformers import register

class Rows(torch.utils.data.Dataset):
    def __len__(self):
        return 32
    def __getitem__(self, i):
        ones = torch.ones(8, dtype=torch.long)
        return {"input_ids": torch.arange(8) + i % 4, "attention_mask": ones, "labels": i % 2}

register()
config = BertConfig(vocab_size=64, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                    intermediate_size=32)
arguments = TrainingArguments("out", num_train_epochs=2, per_device_train_batch_size=8,
    logging_steps=1, eval_strategy="epoch", save_strategy="epoch", load_best_model_at_end=True,
    report_to="trackyard", use_cpu=True, disable_tqdm=True)
model = BertForSequenceClassification(config)
Trainer(model, arguments, train_dataset=Rows(), eval_dataset=Rows()).train()
"""
ACCELERATE = """
from accelerate import Accelerator
from trackyard_integrations.accelerate import register

register()
accelerator = Accelerator(log_with="trackyard", cpu=True)
accelerator.init_trackers("project", config={"lr": 0.1})
for step in range(3):
    accelerator.log({"loss": 1 / (step + 1), "text": "none"}, step=step)
accelerator.end_training()
"""
# Both train by the Trainer of Transformers: a tokenizer of few words and a tiny model will do.
TOKENIZER = """
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from trackyard_integrations.transformers import TrackyardCallback, register

words = "<pad> <eos> <unk> the cat sat on a mat".split()
tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, "<unk>"))
tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>",
    eos_token="<eos>", unk_token="<unk>")
few = {"num_train_epochs": 2, "per_device_train_batch_size": 4, "logging_steps": 1,
    "use_cpu": True, "disable_tqdm": True, "save_strategy": "epoch"}
"""
TRL = """
from transformers import LlamaConfig, LlamaForCausalLM
from trl import SFTConfig, SFTTrainer

config = LlamaConfig(vocab_size=16, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
    num_key_value_heads=2, intermediate_size=32, pad_token_id=0, eos_token_id=1)
register()
SFTTrainer(LlamaForCausalLM(config), SFTConfig("out", report_to="trackyard", bf16=False, **few),
    train_dataset=Dataset.from_dict({"text": ["the cat sat on a mat"] * 8}),
    processing_class=tokenizer).train()
"""
SENTENCES = """
from sentence_transformers import (
    SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments, losses,
)
from transformers import BertConfig, BertModel

BertModel(BertConfig(vocab_size=16, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
    intermediate_size=32)).save_pretrained("bert")
tokenizer.save_pretrained("bert")
model = SentenceTransformer("bert", device="cpu")
rows = {"sentence1": ["the cat"] * 8, "sentence2": ["a mat", "the cat"] * 4,
    "score": [0.0, 1.0] * 4}
SentenceTransformerTrainer(model, SentenceTransformerTrainingArguments("out", **few),
    train_dataset=Dataset.from_dict(rows), loss=losses.CosineSimilarityLoss(model),
    callbacks=[TrackyardCallback(log_checkpoints=True)]).train()
"""
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")


@pytest.fixture
def train(project, torch_python):
    """Give a function that runs a program, and gives the only run that there is then."""

    def run(code, *arguments, launcher=()):
        (project / "program.py").write_text(code)
        command = [torch_python, *launcher, "program.py", *arguments]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        (row,) = Client().list_runs()
        return Client().get_run(row.id)

    return run


def steps(run, key):
    return list(run.curves[key].steps)


def test_fits_of_lightning_go_on_in_one_run_with_best_score_and_checkpoint(train):
    run = train(LIGHTNING, "twice")

    assert run.status == "finished"
    assert len(steps(run, "train_loss")) == 16
    assert run.all_params["optimizer/lr"] == 0.1
    assert run.metrics["best_score"].last in run.curves["val_loss"].values
    assert any(name.startswith("checkpoints/") for name in run.artifacts)


@pytest.mark.parametrize("strategy", ["ddp", "ddp_spawn", "ddp_fork", "fsdp"])
def test_two_processes_of_lightning_are_one_run_with_each_point_once(train, strategy):
    run = train(LIGHTNING, strategy)

    assert run.status == "finished"
    assert steps(run, "train_loss") == [0, 1, 2, 3]
    assert len(steps(run, "val_loss")) == 2
    assert [name for name in run.artifacts if name.endswith(".png")] == ["seen/0.png"]


def test_fit_of_lightning_that_raises_and_is_caught_is_failed(train):
    run = train(LIGHTNING, "broken")

    assert run.status == "failed"
    assert steps(run, "train_loss") == [0, 1]


@pytest.mark.parametrize("processes", [1, 2])
def test_training_of_transformers_is_one_run_with_each_point_once(train, processes):
    run = train(TRANSFORMERS, launcher=TORCHRUN if processes == 2 else ())

    each = 4 // processes
    assert run.status == "finished"
    assert steps(run, "train/loss") == list(range(1, 2 * each + 1))
    assert steps(run, "eval/loss") == [each, 2 * each]
    assert run.metrics["best_metric"].last == min(run.curves["eval/loss"].values)
    assert run.all_params["hidden_size"] == 16


@pytest.mark.parametrize("processes", [1, 2])
def test_loop_of_accelerate_is_one_run_with_each_point_once(train, processes):
    run = train(ACCELERATE, launcher=TORCHRUN if processes == 2 else ())

    assert run.status == "finished"
    assert steps(run, "loss") == [0, 1, 2]
    assert run.all_params["lr"] == 0.1
    assert "text" not in run.metrics


def test_training_of_trl_arrives_by_the_callback_of_transformers(train):
    run = train(TOKENIZER + TRL)

    assert run.status == "finished"
    assert steps(run, "train/loss") == [1, 2, 3, 4]
    assert "train/mean_token_accuracy" in run.metrics
    assert run.all_params["hidden_size"] == 16


def test_training_of_sentence_transformers_arrives_with_its_checkpoints(train):
    run = train(TOKENIZER + SENTENCES)

    assert run.status == "finished"
    assert steps(run, "train/loss") == [1, 2, 3, 4]
    assert {name.split("/")[1] for name in run.artifacts if name.startswith("checkpoints/")} == {
        "checkpoint-2",
        "checkpoint-4",
    }
