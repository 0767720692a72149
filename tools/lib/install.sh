# shellcheck shell=bash
# shellcheck disable=SC2034  # used by the files that source this one
# Installs what is missing: Debian's packages, Odoo's tree, the Python environment.

# Debian's own package of Odoo 19, from its development branch. It is unpacked, never installed, so that the machine's
# apt configuration and its packages stay as they are.
ODOO_VERSION='19.0.0+dfsg-1'

PACKAGES=(
    python3 python3-venv ca-certificates libmagic1
    # Odoo's web client links to these.
    libjs-jquery libjs-jquery-form libjs-underscore
    fonts-font-awesome fonts-roboto-unhinted fonts-inconsolata fonts-ocr-b gsfonts
)
LINT_PACKAGES=(python3 python3-venv ca-certificates shellcheck)
# PostgreSQL also where PGHOST names another server: a test makes a primary and its replica. wkhtmltopdf makes Odoo's PDF files.
# The examples for integrators are in Python, for curl, and in JavaScript for Node.
TEST_PACKAGES=(chromium chromium-sandbox curl nodejs postgresql wkhtmltopdf)

as_root() {
    if [ "$EUID" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "as root: $*"
    fi
}

is_installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# ensure_packages NAME...: no apt-get, hence no question for a password, when all are there
ensure_packages() {
    local missing=() package
    [ "$(dpkg-query -W -f '${db:Status-Status}\n' "$@" 2>/dev/null | grep -cx installed)" = $# ] && return
    for package; do is_installed "$package" || missing+=("$package"); done
    # The password is asked for here, where the question is seen.
    [ "$EUID" = 0 ] || { command -v sudo >/dev/null && sudo -v; } ||
        die "no sudo; to be run as root: apt-get install --no-install-recommends ${missing[*]}"
    [ -n "${LISTS_READ:-}" ] || quietly "reading the package lists" as_root apt-get -o DPkg::Lock::Timeout=300 update
    LISTS_READ=yes
    quietly "installing ${missing[*]}" as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "${missing[@]}"
}

# --- Odoo's tree

debian_mirror() {
    # shellcheck disable=SC2016  # apt's own variable
    apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Origin: Debian' 2>/dev/null |
        grep -E '^https?:' | grep -v security | head -n 1
}

# In a folder of its own: apt's lists, and the archive.
download_odoo() {
    local folder="$1" mirror keyring='' options
    mirror="${ODOO_DEB_MIRROR:-$(debian_mirror || true)}"
    if [ -z "$mirror" ]; then
        as_root apt-get update
        mirror="$(debian_mirror || true)"
    fi
    [ -n "$mirror" ] || die "apt reads no Debian mirror here: name one in ODOO_DEB_MIRROR, or an Odoo 19 in ODOO_PATH"
    # Ubuntu does not trust Debian's keys by default, but has them in a package.
    [ ! -e /usr/share/keyrings/debian-archive-keyring.gpg ] || keyring='[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] '
    mkdir -p "$folder"/{lists,cache/archives}/partial
    echo "deb $keyring$mirror sid main" >"$folder/sources.list"
    options=(-o "Dir::Etc::sourcelist=$folder/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$folder/lists"
        -o "Dir::Cache=$folder/cache" -o APT::Sandbox::User= -o Acquire::Languages=none)
    apt-get "${options[@]}" update
    cd "$folder" || return
    apt-get "${options[@]}" download "odoo-19=$ODOO_VERSION" || apt-get "${options[@]}" download odoo-19
    compgen -G "odoo-19_*.deb" >/dev/null
}

unpack_odoo() {
    local folder="$1" tree="$1/tree" selfie
    dpkg-deb -x "$folder"/odoo-19_*.deb "$tree"
    # The tree's links to fonts and libraries are relative: give them the system's packages to point at.
    ln -sfn /usr/share/fonts /usr/share/fonts-font-awesome /usr/share/javascript "$tree/usr/share/"
    # Montserrat, an optional font that Debian 12 does not have; Odoo fails to bundle a link that leads nowhere.
    find "$tree" -xtype l -delete
    # Debian leaves out this webcam effect, and the web client logs an error when the file is missing.
    selfie="$tree/usr/lib/python3/dist-packages/odoo/addons/mail/static/lib/selfie_segmentation"
    mkdir -p "$selfie"
    echo '/* not part of this installation: it only blurs the background of a webcam */' >"$selfie/selfie_segmentation.js"
    dpkg-deb -f "$folder"/odoo-19_*.deb Version >"$tree/version"
}

install_odoo() {
    local tree="$1" folder
    [ ! -e "$tree" ] || return 0
    rm -rf "$CACHE"/unpack.*
    folder="$(mktemp -d "$CACHE/unpack.XXXXXX")"
    quietly "downloading Odoo 19 from Debian (122 MB)" download_odoo "$folder"
    quietly "unpacking Odoo" unpack_odoo "$folder"
    chmod 755 "$folder/tree"
    # Renamed when complete: an interrupted installation is never taken for a good one.
    mv -T "$folder/tree" "$tree"
    rm -rf "$folder"
}

# Sets ODOO_SCRIPT, ODOO_LIBRARY (for PYTHONPATH), ODOO_ADDONS and ODOO_KEY, which names the version.
ensure_odoo() {
    local tree="$CACHE/odoo-$ODOO_VERSION" version
    if [ -n "${ODOO_PATH:-}" ]; then
        [ -f "$ODOO_PATH/odoo-bin" ] || die "ODOO_PATH=$ODOO_PATH holds no odoo-bin"
        ODOO_LIBRARY="$(realpath "$ODOO_PATH")"
        ODOO_SCRIPT="$ODOO_LIBRARY/odoo-bin"
        ODOO_ADDONS="$ODOO_LIBRARY/odoo/addons"
        [ ! -d "$ODOO_LIBRARY/addons" ] || ODOO_ADDONS="$ODOO_LIBRARY/addons,$ODOO_ADDONS"
        ODOO_KEY="$(short_hash "$ODOO_LIBRARY $(sha256sum "$ODOO_LIBRARY/odoo/release.py")")"
        return
    fi
    [ -e "$tree" ] || locked "$CACHE/odoo.lock" install_odoo "$tree"
    version="$(<"$tree/version")"
    [ "$version" = "$ODOO_VERSION" ] || say "warning: tried with Odoo $ODOO_VERSION, the mirror only had $version"
    ODOO_LIBRARY="$tree/usr/lib/python3/dist-packages"
    ODOO_SCRIPT="$tree/usr/bin/odoo"
    ODOO_ADDONS="$ODOO_LIBRARY/odoo/addons"
    ODOO_KEY="$(short_hash "$version")"
}

# --- Python

install_venv() {
    local venv="$1"
    [ ! -e "$venv/complete" ] || return 0
    # Scripts in a virtual environment know its path, so it is built in place; the stamp is what makes it a good one.
    rm -rf "$venv"
    quietly "making a Python environment" env -u PYTHONPATH /usr/bin/python3 -m venv "$venv"
    quietly "installing Python packages" env -u PYTHONPATH "$venv/bin/python" -m pip install \
        --disable-pip-version-check --no-input -r "$ROOT/tools/requirements-dev.txt"
    touch "$venv/complete"
}

ensure_python() {
    VENV="$CACHE/venv-$(cat "$ROOT"/tools/requirements*.txt <(readlink -f /usr/bin/python3) | sha256sum | cut -c1-12)"
    [ -e "$VENV/complete" ] || locked "$CACHE/venv.lock" install_venv "$VENV"
    PYTHON="$VENV/bin/python"
}
