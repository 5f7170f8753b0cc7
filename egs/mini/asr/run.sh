#!/usr/bin/env bash
# egs/mini/asr/run.sh [--config FILE] [--stage NAME] [--stop-stage NAME] [--dry-run] [key=value ...]
# The demo: makes a small corpus, trains, decodes and scores on it, and transcribes one held-out file.
source "$(dirname "${BASH_SOURCE[0]}")/../../run.sh"

"$python" tools/make_mini_corpus.py data/mini
run_recipe asr
"$python" tools/show_demo.py "$config" ${arguments[@]+"${arguments[@]}"}
