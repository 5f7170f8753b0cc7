#!/usr/bin/env bash
# egs/mini/asr/run.sh [--config FILE] [--stage NAME] [--stop-stage NAME] [--dry-run] [key=value ...]
# The demo: makes a small corpus, trains, decodes and scores on it, and transcribes one held-out file.
set -euo pipefail

here=egs/mini/asr
config=$here/recipe.yaml
exp=exp/mini
whole=yes
arguments=()
# A file of the caller's, or one that lies beside this script.
given() { if [[ -f $1 ]]; then realpath "$1"; else echo "$here/$1"; fi; }
while (($#)); do
  case $1 in
    -h | --help) sed -n '2,3s/^# //p' "${BASH_SOURCE[0]}"; exit ;;
    --config) config=$(given "${2:?--config: give a YAML file}"); shift 2; continue ;;
    --stop-stage | --dry-run) whole=no ;;
    exp_dir=*) exp=${1#exp_dir=} ;;
  esac
  arguments+=("$1")
  shift
done

cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
python=.venv/bin/python
[[ -x $python ]] || python=python
"$python" tools/make_mini_corpus.py data/mini
"$python" -m recipes asr "$config" ${arguments[@]+"${arguments[@]}"}
[[ $whole == yes ]] || exit 0

model=$exp/package/mini-s4
file=$(find data/mini/LibriSpeech/test-mini -name '*.flac' | sort | sed -n '$p')  # the last speaker is never heard in training
id=$(basename "$file" .flac)
said=$(sed -n "s/^$id //p" "$(dirname "$file")"/*.trans.txt)
recognised=$("$python" -m s4speech transcribe "$file" -m "$model")
cat <<END

held-out file  $file
  said         $said
  recognised   $recognised

plots   $exp/train/learning_curves.png, $exp/average/attention.png
report  $exp/score/test-mini.joint.txt
model   $model
use it  s4speech transcribe FILE -m $model
END
