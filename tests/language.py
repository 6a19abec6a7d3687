"""A tiny language model in a folder, as transformers writes one: random weights, a real tokeniser."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import torch

from tacita.data.modality import find


@cache
def sentence_folder() -> Path:
    """A BERT of two layers with WordPiece, whose tokeniser pads and cuts unless it is told not to."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import BertConfig, BertModel

    data = find("text").example()
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(
        vocab_size=500, special_tokens=specials, show_progress=False
    )
    texts = [str(data.kind.show(data, i)) for i in range(len(data))]
    made.train_from_iterator([*texts, *["the cat sat on"] * 9], trainer)
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    made.enable_padding()
    made.enable_truncation(12)
    folder = Path(tempfile.mkdtemp(prefix="sentence-model-"))
    made.save(str(folder / "tokenizer.json"))
    config = BertConfig(
        vocab_size=made.get_vocab_size(),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=256,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = BertModel(config, add_pooling_layer=False)
    config.save_pretrained(folder)
    from safetensors.torch import save_file

    save_file(network.state_dict(), folder / "model.safetensors")
    return folder
