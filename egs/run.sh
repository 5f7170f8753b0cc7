# Sourced by every egs/CORPUS/TASK/run.sh: reads the options of the script, goes to the repository, and gives it
# python, config, arguments and run_recipe. default: the YAML beside the script that is run without --config.
set -euo pipefail

script=${BASH_SOURCE[1]}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
here=$(cd "$(dirname "$script")" && pwd)
here=${here#"$root"/}
# A file of the caller's, or one that lies beside the script.
given() { if [[ -f $1 ]]; then realpath "$1"; else echo "$here/$1"; fi; }
config=$here/${default:-recipe.yaml}
arguments=()
while (($#)); do
  case $1 in
    -h | --help) sed -n '2,3s/^# //p' "$script"; exit ;;
    --config) config=$(given "${2:?--config: give a YAML file}"); shift 2 ;;
    --config=*) config=$(given "${1#--config=}"); shift ;;
    *) arguments+=("$1"); shift ;;
  esac
done

cd "$root"
python=.venv/bin/python
[[ -x $python ]] || python=python

# run_recipe RECIPE: with the script's options.
run_recipe() { "$python" -m recipes "$1" "$config" ${arguments[@]+"${arguments[@]}"}; }
