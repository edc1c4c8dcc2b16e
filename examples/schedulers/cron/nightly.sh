#!/usr/bin/env bash
# nightly.sh: trains, then delivers what trackers have not got.
set -uo pipefail
cd "$(dirname "$0")" || exit 1 # cron begins in the home folder
export PATH="$PWD/.venv/bin:$PATH"

# One at a time: a night that takes longer than a day is not begun twice.
exec 9>.nightly.lock
flock --nonblock 9 || { echo "the night before is still running" >&2; exit 75; }

trackyard run train.py:training --name 'nightly-{date}'
trained=$?
trackyard sync --timeout 600
synced=$?
exit $((trained ? trained : synced))
