#!/usr/bin/env bash
# egs/mini/asr/run.sh [--config FILE] [--stage NAME] [--stop-stage NAME] [--dry-run] [key=value ...]
# The demo: makes a small corpus, trains, decodes and scores on it, and transcribes one held-out file.
set -euo pipefail

here=egs/mini/asr
config=$here/recipe.yaml
arguments=()
# A file of the caller's, or one that lies beside this script.
given() { if [[ -f $1 ]]; then realpath "$1"; else echo "$here/$1"; fi; }
while (($#)); do
  case $1 in
    -h | --help) sed -n '2,3s/^# //p' "${BASH_SOURCE[0]}"; exit ;;
    --config) config=$(given "${2:?--config: give a YAML file}"); shift 2 ;;
    --config=*) config=$(given "${1#--config=}"); shift ;;
    *) arguments+=("$1"); shift ;;
  esac
done

cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
python=.venv/bin/python
[[ -x $python ]] || python=python
"$python" tools/make_mini_corpus.py data/mini
"$python" -m recipes asr "$config" ${arguments[@]+"${arguments[@]}"}
"$python" tools/show_demo.py "$config" ${arguments[@]+"${arguments[@]}"}
