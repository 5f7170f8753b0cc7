#!/usr/bin/env bash
# egs/sequential/listops/run.sh [--config FILE] [--stage NAME] [--stop-stage NAME] [--dry-run] [key=value ...]
# FILE: recipe.yaml (as in the Long Range Arena, the default), mini_s4d.yaml, mini_transformer.yaml, or another.
source "$(dirname "${BASH_SOURCE[0]}")/../../run.sh"

run_recipe classify
