# Finds what set-up builds on. Each candidate is run: a name on PATH may be a shim to nothing.

is_python_313() {
    "$1" -c '
import ensurepip, sys, venv
sys.exit(sys.version_info[:2] != (3, 13))' >/dev/null 2>&1
}

# Folders that hold pyenv's installed versions, also when its variables are not set.
pyenv_versions() {
    echo "${PYENV_ROOT:-$HOME/.pyenv}/versions"
    if pyenv=$(command -v pyenv); then
        echo "$(pyenv root 2>/dev/null)/versions"
        echo "$(dirname "$pyenv")/../versions"
        echo "$(dirname "$(readlink -f "$pyenv")")/../versions"
    fi
}

python_candidates() {
    echo "${PYTHON:-}"
    command -v python3.13
    pyenv_versions | while read -r folder; do
        for version in "$folder"/3.13*/bin/python; do
            echo "$version"
        done
    done
    uv python find 3.13 --no-python-downloads 2>/dev/null
    command -v python3
}

find_python_313() {
    python_candidates | {
        while read -r candidate; do
            if [ -n "$candidate" ] && is_python_313 "$candidate"; then
                echo "$candidate"
                exit 0
            fi
        done
        exit 1
    }
}

has_node_20() {
    command -v npm >/dev/null 2>&1 &&
        node -e 'process.exit(parseInt(process.versions.node) >= 20 ? 0 : 1)' >/dev/null 2>&1
}
