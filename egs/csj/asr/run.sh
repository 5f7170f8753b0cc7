#!/usr/bin/env bash
# egs/csj/asr/run.sh [--config FILE] [--stage NAME] [--stop-stage NAME] [--dry-run] [key=value ...]
# FILE: recipe.yaml, or another; the published tree of CSJ (MORPH/SDB, WAV): corpus.root=PATH.
source "$(dirname "${BASH_SOURCE[0]}")/../../run.sh"

run_recipe asr
