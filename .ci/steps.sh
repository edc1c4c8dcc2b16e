# What .ci/run and .ci/long share: it is sourced by them, at the top of a checkout.
# A script calls `step NAME COMMAND...` for each of its steps, and `finish` at the end. Names of
# steps as the script's arguments choose among them; `servers` and `environment` come first always.

python=$(python3 -c 'import sys; print(sys.executable)')
PATH=$("$python" -c 'import sysconfig; print(sysconfig.get_path("scripts"))'):$PATH
export PATH
export PIP_BREAK_SYSTEM_PACKAGES=1 PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1
export PIP_CONSTRAINT=$PWD/constraints.txt # also for the uv that the README's command installs
# Without bytecode every `import mlflow` compiles 1,800 modules.
export UV_COMPILE_BYTECODE=1 MLFLOW_DISABLE_TELEMETRY=true
# `uv run` knows no constraints file: the environment is made from it here, then left alone.
export UV_NO_SYNC=1
# Other people's runners and frameworks are tried for real: elsewhere their tests skip where these
# cannot be installed.
export ENGINES_REQUIRED=1
unset VIRTUAL_ENV

wanted=("$@")
known=()
summary=()
failed=0

# Runs a command as a step, if it is wanted: prints what it took, and goes on where it fails.
step() {
    local name=$1 started=$SECONDS result=ok
    shift
    known+=("$name")
    is_wanted "$name" || return 0
    printf '\n=== %s\n' "$name"
    "$@" || { result=FAILED failed=1; }
    summary+=("$(printf '%-12s %4d s  %s' "$name" $((SECONDS - started)) "$result")")
    echo "${summary[-1]}"
}

is_wanted() {
    local name
    [ ${#wanted[@]} = 0 ] && return
    for name in servers environment "${wanted[@]}"; do
        [ "$name" != "$1" ] || return 0
    done
    return 1
}

finish() {
    local name
    for name in "${wanted[@]}"; do
        [[ " ${known[*]} " == *" $name "* ]] && continue
        echo "there is no step '$name'; the steps are: ${known[*]}" >&2
        failed=1
    done
    printf '\n=== Summary\n'
    printf '%s\n' "${summary[@]}" "$(printf '%-12s %4d s' total $SECONDS)"
    exit $failed
}

# Steps stand behind `||`, where bash ignores `set -e`: their commands are joined by `&&`.

# A browser and a database server, for the tests that need real ones.
servers() {
    [ -x /usr/bin/chromium ] && compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null && return
    type apt-get >/dev/null 2>&1 || { echo "no apt: tests of pages and databases skip" && return; }
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq &&
        apt-get install -y -qq --no-install-recommends chromium postgresql >/dev/null
}

environment() {
    local members=() folder
    for folder in core plugins/*/; do # without the group `flavors`
        [[ $folder == plugins/@(dvclive|swanlab)/ ]] || members+=(--editable "$folder")
    done
    "$python" -m pip install --quiet uv &&
        uv venv --quiet --allow-existing --python "$python" .venv &&
        uv pip install --quiet --constraints constraints.txt --build-constraints constraints.txt \
            "${members[@]}" --group dev --group examples --group stores \
            --group integrations --group site
}

# The README's own test command, with more options. A test that hangs says where, and ends with all
# the others. A few that fail are run twice more, alone: what passes then is said to be flaky, which
# is a fault to mend, and no reason to refuse what everybody else has done.
# Usage: tests LIMIT [PYTEST OPTION...], where LIMIT is as for timeout(1)
tests() {
    local command code=0 failed_tests=.pytest_cache/v/cache/lastfailed limit=$1
    shift
    command=$(awk '/^```/ { fences++; next } fences == 1 && ++line == 2' README.md)
    echo "$command${*:+, with $*}"
    [ -n "$command" ] || return 1
    rm -f $failed_tests
    readme_command "--durations=25 $*" || code=$?
    [ $code = 1 ] && [ "$(grep -c '::' $failed_tests)" -le 8 ] || return $code # 1: tests failed
    printf '\n=== Once more, alone; what passes now is flaky:\n'
    cat $failed_tests
    readme_command "-n 0 --last-failed $*" || {
        printf '\n=== And a last time:\n'
        readme_command "-n 0 --last-failed $*"
    }
}

readme_command() {
    PYTEST_ADDOPTS="-o faulthandler_timeout=180 $1" timeout --kill-after=10 "$limit" bash -c "$command"
}
