#!/bin/sh
# Writes docker/requirements.txt and docker/requirements-build.txt anew: the newest versions that pyproject.toml allows, with the
# hashes of their files. Needs uv (`pip install uv`). The tests then say whether the gateway works with them.
set -eu
cd "$(dirname "$0")/.."
lock() {
    output=$1
    shift
    uv pip compile --quiet --python-version 3.13 --python-platform linux --generate-hashes --no-annotate --no-header "$@" \
        --output-file "$output.new"
    { echo "# Written by docker/lock.sh: what goes into the image, with the hashes of its files."; cat "$output.new"; } >"$output"
    rm "$output.new"
}
lock docker/requirements.txt --upgrade --extra embedded --extra geoip --extra postgres pyproject.toml
sed -n 's/^requires = \["\(.*\)"\]$/\1/p' pyproject.toml | lock docker/requirements-build.txt --upgrade -
