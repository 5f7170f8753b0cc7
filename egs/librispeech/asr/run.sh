#!/usr/bin/env bash
# egs/librispeech/asr/run.sh [--config FILE] [--stage NAME] [--stop-stage NAME] [--dry-run] [key=value ...]
# FILE: recipe.yaml (960 h, the default), mini.yaml (train-clean-5), or another; LibriSpeech: corpus.root=PATH.
set -euo pipefail

here=egs/librispeech/asr
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
exec "$python" -m recipes asr "$config" ${arguments[@]+"${arguments[@]}"}
