#!/usr/bin/env bash
# egs/kathleen/tts/run.sh [--config FILE] [--stage NAME] [--stop-stage NAME] [--dry-run] [key=value ...]
# FILE: recipe.yaml (the default), ar_s4.yaml, ar_transformer.yaml or two_voices.yaml.
source "$(dirname "${BASH_SOURCE[0]}")/../../run.sh"

run_recipe tts
