#!/usr/bin/env bash
# egs/ljspeech/tts/run.sh [--config FILE] [--stage NAME] [--stop-stage NAME] [--dry-run] [key=value ...]
# The corpus in its published layout: 'corpus.voices=[{root: PATH, speaker: ljspeech}]'.
source "$(dirname "${BASH_SOURCE[0]}")/../../run.sh"

run_recipe tts
