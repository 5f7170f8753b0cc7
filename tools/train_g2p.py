"""Train the letter-to-sound model s4speech/pretrained/en-g2p on the lexicon.

    OMP_NUM_THREADS=1 PYTHONPATH=. python tools/train_g2p.py --minutes 14

Words of the lexicon (a-z only, the DEFAULT form). Held out: families of words with one stem, so that no
inflection of a test word was seen, and of them only words that the rules for endings cannot derive: those are
what the model will be asked for. Of the derivable words a quarter is trained on. Prints phone error rate and
word accuracy, with and without stress. --minutes are minutes of the processor.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import re
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from s4speech.models.g2p import G2P, LETTERS, PHONES, G2PConfig, ctc_loss, load_model, save_g2p
from s4speech.text import lexicon
from s4speech.text.phonemes import _tokens
from s4speech.text.tokenizer import BLANK
from s4speech.train.optim import MuonAdamW, lr_factor, parameter_groups, set_lr

Word = tuple[str, tuple[str, ...]]
SUFFIX = re.compile(
    "(?:ings?|ed|e?s|ers?|ors?|ly|ness|less|able|ibly|ments?|ful|ity|ies|ied|ish|i[sz]m|i[sz]e|i[sz]ation|ation|"
    "ists?|ical|ic|al|ally|y|e|a|o|i)$"
)


def stem(word: str) -> str:
    """A crude stem: what is left when endings are taken off again and again, and the doubled last letter."""
    while True:
        shorter = SUFFIX.sub("", word)
        if len(shorter) < 4 or shorter == word:
            return re.sub(r"(.)\1$", r"\1", word)
        word = shorter


def lexicon_words(table: dict[str, str | lexicon.Forms]) -> dict[str, tuple[str, ...]]:
    """Words of a-z with at least two letters, and the tokens of their default form."""
    words = {}
    for word, forms in table.items():
        small = word.lower()
        acronym = word.isupper() and len(word) > 1
        if re.fullmatch("[a-z]{2,}", small) and not acronym and (small == word or small not in table):
            words[small] = _tokens(forms if isinstance(forms, str) else forms[lexicon.DEFAULT])
    return words


def split(hold_out: int) -> tuple[list[Word], dict[str, list[Word]]]:
    """Training words, and held-out words by table: of the stems one in `hold_out` is held out."""
    tables: dict[str, dict[str, tuple[str, ...]]] = {
        "gold": lexicon_words(lexicon.gold()),
        "silver": lexicon_words(lexicon.silver()),
        "names": lexicon_words(dict(lexicon.names())),
    }
    train: list[Word] = []
    held: dict[str, list[Word]] = {name: [] for name in tables}
    seen: set[str] = set()
    for name, table in tables.items():
        for word in sorted(table.keys() - seen):
            derived = lexicon.find_derived(word) is not None
            if number(stem(word)) % hold_out:
                if not derived or number(word) % 4 == 0:
                    train.append((word, table[word]))
            elif not derived:
                held[name].append((word, table[word]))
        seen |= table.keys()
    return train, held


def number(text: str) -> int:
    """A number that is the same in every run, unlike Python's hash."""
    return int(hashlib.sha1(text.encode()).hexdigest()[:8], 16)


def batches(words: list[Word], size: int, rng: random.Random) -> list[list[Word]]:
    """Words of one length together, which pads little; in random order."""
    shuffled = sorted(rng.sample(words, len(words)), key=lambda word: len(word[0]))
    made = [shuffled[i : i + size] for i in range(0, len(shuffled), size)]
    rng.shuffle(made)
    return made


def tensors(batch: list[Word]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Letters (B, T), lengths (B,), targets of all words in a row, their sizes (B,)."""
    rows = [torch.tensor([LETTERS.index(letter) for letter in word]) for word, _ in batch]
    targets = torch.tensor([NUMBER[phone] for _, phones in batch for phone in phones])
    sizes = torch.tensor([len(phones) for _, phones in batch])
    return (
        nn.utils.rnn.pad_sequence(rows, batch_first=True),
        torch.tensor([len(row) for row in rows]),
        targets,
        sizes,
    )


NUMBER = {phone: i + BLANK + 1 for i, phone in enumerate(PHONES)}


def distance(a: tuple[str, ...], b: tuple[str, ...]) -> int:
    """Levenshtein distance."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (x != y))
    return row[-1]


def score(model: G2P, words: list[Word]) -> str:
    """Phone error rate and word accuracy, in %, with stress marks and without."""
    model.eval()
    got = [g for i in range(0, len(words), 500) for g in model.pronounce([w for w, _ in words[i : i + 500]])]
    model.train()
    report = []
    for name, bare in (("with stress", False), ("without", True)):
        pairs = [
            tuple(tuple(p.strip("ˈˌ") for p in phones) if bare else phones for phones in (want, have))
            for (_, want), have in zip(words, got, strict=True)
        ]
        errors = sum(distance(want, have) for want, have in pairs)
        right = sum(want == have for want, have in pairs)
        total = sum(len(want) for want, _ in pairs)
        report.append(
            f"{name}: PER {100 * errors / total:.2f} %, words right {100 * right / len(pairs):.1f} %"
        )
    return f"{len(words)} words; " + "; ".join(report)


def train(args: argparse.Namespace, card: str) -> G2P:
    """The mean of the weights (exponential moving average) at the end of the time."""
    torch.manual_seed(args.seed)
    rng = random.Random(args.seed)
    words, held = split(args.hold_out)
    model = load_model(args.init).requires_grad_(True).train() if args.init else G2P(G2PConfig())
    average = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.998)
    )
    print(f"{len(words)} words, {sum(p.numel() for p in model.parameters())} parameters", flush=True)
    optimizer = MuonAdamW(parameter_groups(model, args.lr, 0.01, args.ssm_lr, args.muon_lr))
    start, step, epoch = time.process_time(), 0, 0
    total = 0.0
    while (progress := (time.process_time() - start) / (60 * args.minutes)) < 1:
        for batch in batches(words, args.batch, rng):
            progress = (time.process_time() - start) / (60 * args.minutes)
            set_lr(optimizer, lr_factor("linear", step, 200, min(1.0, progress)))
            letters, lengths, targets, sizes = tensors(batch)
            with torch.autocast("cpu", torch.bfloat16):
                log_probs, frames = model(letters, lengths)
            loss = ctc_loss(log_probs, frames, targets, sizes)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            average.update_parameters(model)
            total, step = 0.99 * total + 0.01 * loss.item(), step + 1
            if step % 200 == 0:
                unbiased = total / (1 - 0.99**step)
                print(
                    f"{time.process_time() - start:.0f} s, epoch {epoch}, step {step}, {unbiased:.3f}",
                    flush=True,
                )
            if progress >= 1:
                break
        epoch += 1
        for name in held:
            print(name, score(average.module, held[name][::5]), flush=True)
        save_g2p(args.out, average.module, card)
    print(f"{epoch} epochs, {step} steps, {time.process_time() - start:.0f} s")
    return average.module


def main() -> None:
    """Train, write the directory, load it again and score it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path("s4speech/pretrained/en-g2p"))
    parser.add_argument("--minutes", type=float, default=14.0, help="of the processor")
    parser.add_argument("--init", type=Path, help="a directory to go on from, with new optimiser states")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--muon-lr", type=float, default=4e-3)
    parser.add_argument("--ssm-lr", type=float, default=1e-3)
    parser.add_argument("--hold-out", type=int, default=16)
    parser.add_argument("--seed", type=int, default=5)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    file = args.out / "README.md"
    card = file.read_text("utf-8") if file.is_file() else "# en-g2p\n"
    save_g2p(args.out, train(args, card), card)
    _, held = split(args.hold_out)
    model = load_model(args.out)
    held["all"] = [word for words in held.values() for word in words]
    for name, some in held.items():
        print(name, score(model, some))


if __name__ == "__main__":
    main()
