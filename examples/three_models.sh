#!/usr/bin/env bash
# One tenant, one stream of chunks, three models that learn from it: naive Bayes, logistic regression and a tree.
# Usage: examples/three_models.sh FOLDER [PROFILE OPTIONS]   with privml in the PATH; makes FOLDER, which must not exist.
# Small keys that protect nothing, so that it takes seconds; `… FOLDER --profile standard` takes real ones.
set -euo pipefail
weather=$(cd "$(dirname "$0")/weather" && pwd)
folder=${1:?name a folder to make}
shift
[ $# -gt 0 ] || set -- --profile toy --insecure
mkdir "$folder"
cd "$folder"
(umask 077; head -c 18 /dev/urandom | base64 > passphrase)

# The tree tries its leaves every seven records, and splits as soon as it has seen more than eight.
privml authority init --dir tenant "$@" --schema "$weather/schema.toml" --passphrase-file passphrase \
    --owner a --owner b --client c --min-owners 2 --min-records 10 \
    --classifier nb --classifier lr:rate=8,passes=4 --classifier dt:grace=7,tau=1
export PRIVML_CONFIG=tenant/privml.toml
privml mu & mu=$!
privml su & su=$!
trap 'kill $mu $su 2>/dev/null || true' EXIT

# An owner publishes its records once; --wait returns when every model has learnt them.
privml owner publish "$weather/a.csv" --owner a --wait
privml owner publish "$weather/b.csv" --owner b --wait
for model in nb lr dt; do
    privml predict "$weather/queries.csv" --client c --model $model --out $model.csv
    privml inspect model --model $model
done
head nb.csv lr.csv dt.csv
kill $mu $su
wait $mu $su
trap - EXIT
privml audit
