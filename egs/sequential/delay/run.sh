#!/usr/bin/env bash
# egs/sequential/delay/run.sh [--config FILE] [--stage NAME] [--stop-stage NAME] [--dry-run] [key=value ...]
# FILE: mini_s4.yaml (the default), mini_lstm.yaml, or another.
default=mini_s4.yaml
source "$(dirname "${BASH_SOURCE[0]}")/../../run.sh"

run_recipe classify
