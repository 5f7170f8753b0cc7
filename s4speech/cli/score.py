"""`s4speech score`: error rates of a hypothesis file against a reference file."""

from pathlib import Path
from typing import Annotated

import typer


def score(
    reference: Annotated[Path, typer.Argument(help="References: TRN, one 'words (speaker-utt)' a line.")],
    hypothesis: Annotated[Path, typer.Argument(help="Hypotheses: TRN with the same ids.")],
    compare: Annotated[
        Path | None, typer.Option(help="TRN of another system: is the difference significant?")
    ] = None,
    alignment: Annotated[
        Path | None, typer.Option(help="Write the REF/HYP/EVAL listing to this file.")
    ] = None,
    normalize: Annotated[
        bool, typer.Option("--normalize", help="Compare A-Z and apostrophes only, in capitals (English).")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Print WER and CER with counts, 95 % intervals, speakers and the most frequent errors."""
    import json

    from s4speech.files import write_by_rename
    from s4speech.metrics import error_rate
    from s4speech.metrics.alignment import listing, read_trn, speaker_of
    from s4speech.metrics.report import format_report, report_as_dict
    from s4speech.text.normalize import normalize_english

    def read(path: Path) -> dict[str, str]:
        texts = read_trn(path)
        return {u: normalize_english(text) for u, text in texts.items()} if normalize else texts

    refs, hyps = read(reference), read(hypothesis)
    speakers = {utterance: speaker_of(utterance) for utterance in refs}
    report = error_rate.score(refs, hyps, speakers)
    other = error_rate.score(refs, read(compare), speakers) if compare else None
    if alignment is not None:
        write_by_rename(alignment, listing(report.alignments))
    test = error_rate.matched_pairs(report, other) if other else None
    if as_json:
        plain = report_as_dict(report)
        if test:
            plain["compared"] = {"difference": test.difference, "z": test.z, "p": test.p}
        typer.echo(json.dumps(plain, ensure_ascii=False, indent=2))
        return
    typer.echo(format_report(report), nl=False)
    if test and other:
        typer.echo(
            f"\nagainst {compare}: WER {100 * other.wer:.2f} %, difference {100 * test.difference:+.2f} %"
            f" (matched pairs of {test.segments} utterances: z {test.z:.2f}, p {test.p:.4f})"
        )
