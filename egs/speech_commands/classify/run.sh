#!/usr/bin/env bash
# egs/speech_commands/classify/run.sh [--config FILE] [--stage NAME] [--stop-stage NAME] [--dry-run] [key=value ...]
# FILE: recipe.yaml (35 words, the default), mini_s4d.yaml, mini_s4.yaml, mini_s5.yaml, mini_m5.yaml; task.root=PATH.
source "$(dirname "${BASH_SOURCE[0]}")/../../run.sh"

run_recipe classify
