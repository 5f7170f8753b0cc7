#!/usr/bin/env bash
# egs/sequential/copy/run.sh [--config FILE] [--stage NAME] [--stop-stage NAME] [--dry-run] [key=value ...]
# FILE: mini_s4d.yaml (the default), mini_lstm.yaml, or another.
default=mini_s4d.yaml
source "$(dirname "${BASH_SOURCE[0]}")/../../run.sh"

run_recipe classify
