#!/usr/bin/env bash
# egs/librispeech/asr/run.sh [--config FILE] [--stage NAME] [--stop-stage NAME] [--dry-run] [key=value ...]
# FILE: recipe.yaml (960 h, the default), mini.yaml (train-clean-5), or another; LibriSpeech: corpus.root=PATH.
source "$(dirname "${BASH_SOURCE[0]}")/../../run.sh"

run_recipe asr
