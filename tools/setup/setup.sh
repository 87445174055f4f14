#!/bin/sh
# Installs what the project needs and this machine lacks: the Python environment in .venv, Azurite
# in node_modules, the SQLite ODBC driver; with the word `tests`, PostgreSQL and its driver too.
# Says what to install where it cannot do so itself.
set -eu
cd "$(dirname "$0")/../.."
. tools/setup/find.sh

say() { echo "setup: $*"; }

fail() {
    echo "setup: $*" >&2
    exit 1
}

hash_of() {
    if command -v sha256sum >/dev/null 2>&1; then
        cat "$@" | sha256sum
    else
        cat "$@" | shasum -a 256
    fi
}

# unchanged STAMP FILE...: whether the files are those that the stamp was made for.
unchanged() {
    stamp=$1
    shift
    [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(hash_of "$@")" ]
}

install_python_packages() {
    if ! is_python_313 .venv/bin/python; then
        say "making .venv with $python"
        rm -rf .venv
        "$python" -m venv .venv
    fi
    if unchanged .venv/packages.stamp requirements.txt requirements-dev.txt; then
        return
    fi
    say "installing Python packages into .venv"
    .venv/bin/python -m pip --version >/dev/null 2>&1 || .venv/bin/python -m ensurepip >/dev/null
    .venv/bin/python -m pip install --quiet --no-input --disable-pip-version-check \
        --root-user-action=ignore --requirement requirements-dev.txt ||
        fail "pip could not install requirements-dev.txt; its own message is above"
    hash_of requirements.txt requirements-dev.txt >.venv/packages.stamp
}

install_node_packages() {
    if unchanged node_modules/packages.stamp package.json package-lock.json; then
        return
    fi
    say "installing Azurite into node_modules"
    npm ci --loglevel=error ||
        fail "npm could not install package-lock.json; its own message is above"
    hash_of package.json package-lock.json >node_modules/packages.stamp
}

has_odbc_driver() {
    .venv/bin/python -c '
import sys, pyodbc
sys.exit(not any(sys.argv[1] in name.lower() for name in pyodbc.drivers()))' "$1" 2>/dev/null
}

has_postgres_server() {
    command -v postgres >/dev/null 2>&1 && return
    for program in /usr/lib/postgresql/*/bin/postgres; do
        [ -x "$program" ] && return
    done
    return 1
}

# install_debian PACKAGE...: installs with apt-get, as root or with sudo, or says what to install.
install_debian() {
    command -v apt-get >/dev/null 2>&1 ||
        fail "there is no apt-get here: install by hand what Debian calls $*"
    if [ "$(id -u)" -eq 0 ]; then
        as_root="env"
    elif command -v sudo >/dev/null 2>&1 && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
        as_root="sudo env"
    else
        fail "neither root nor sudo: have an administrator run 'apt-get install $*'"
    fi
    say "installing $*"
    apt_install "$@" || { $as_root apt-get -q update && apt_install "$@"; } ||
        fail "apt-get could not install $*; its own message is above"
}

apt_install() {
    $as_root DEBIAN_FRONTEND=noninteractive \
        apt-get -qq install --no-install-recommends "$@" >/dev/null
}

install_sqlite_driver() {
    has_odbc_driver sqlite && return
    install_debian unixodbc libsqliteodbc
    has_odbc_driver sqlite ||
        fail "no SQLite driver in odbcinst.ini after 'apt-get install unixodbc libsqliteodbc'"
}

install_postgres_for_tests() {
    has_odbc_driver postgresql && has_postgres_server && return
    install_debian postgresql odbc-postgresql
    has_odbc_driver postgresql ||
        fail "no PostgreSQL driver in odbcinst.ini after 'apt-get install odbc-postgresql'"
}

python=$(find_python_313) || fail "Python 3.13 with its venv module was not found: install it" \
    "(pyenv install 3.13, or uv python install 3.13), or name it: PYTHON=/path/to/python3.13"
has_node_20 || fail "Node.js 20 or newer with npm was not found on PATH: install it (nodejs.org)"
install_python_packages
install_node_packages
install_sqlite_driver
if [ "${1:-}" = tests ]; then install_postgres_for_tests; fi
