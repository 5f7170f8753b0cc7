#!/usr/bin/env bash
# egs/an4/asr/run.sh [--config FILE] [--stage NAME] [--stop-stage NAME] [--dry-run] [key=value ...]
# FILE: recipe.yaml (the default), or another; AN4: corpus.root=PATH, or download=true.
source "$(dirname "${BASH_SOURCE[0]}")/../../run.sh"

run_recipe asr
