#!/usr/bin/env bash
# egs/librispeech/lm/run.sh [--config FILE] [--stage NAME] [--stop-stage NAME] [--dry-run] [key=value ...]
# FILE: mini.yaml (the default), or another; text: text.path=FILE; the recogniser's pieces: tokenizer=FILE.
default=mini.yaml
source "$(dirname "${BASH_SOURCE[0]}")/../../run.sh"

run_recipe lm
