# shellcheck shell=bash
# Odoo's configuration, its command line, and databases copied from a template.

DATA_DIR="$STATE/odoo"

ensure_configuration() {
    local new="$STATE/odoo.conf.$$"
    # The addon is the repository's root, whatever its folder is called; Odoo needs the addon's name.
    [ "$(readlink "$STATE/addons/stock_event_ledger")" = "$ROOT" ] || ln -sfn "$ROOT" "$STATE/addons/stock_event_ledger"
    install -d -m 700 "$DATA_DIR"
    export ADDONS="$STATE/addons,$ODOO_ADDONS"
    export ODOO_RC="$STATE/odoo.conf"
    cat >"$new" <<CONF
[options]
addons_path = $ADDONS
data_dir = $DATA_DIR
db_host = $PGHOST
db_port = $PGPORT
db_user = $PGUSER
http_interface = 127.0.0.1
http_port = $(port http)
gevent_port = $(port gevent)
list_db = False
CONF
    # A running server watches nothing here, but a file that does not change is easier to trust.
    if cmp -s "$new" "$ODOO_RC"; then rm "$new"; else mv "$new" "$ODOO_RC"; fi
}

# Installs and starts everything and exports what tools/env prints.
ensure_all() {
    ensure_packages "${PACKAGES[@]}"
    ensure_odoo
    ensure_python
    ensure_postgresql
    ensure_rabbitmq
    ensure_configuration
    export PYTHON
    export PYTHONPATH="$ODOO_LIBRARY"
    export DEMO_DB="${DEMO_DB:-stock_event_ledger_demo$DATABASE_SUFFIX}"
    # Debian would compile Odoo's modules when it installs them: let the first run do it, or every start takes seconds.
    export PYTHONDONTWRITEBYTECODE=
    TEMPLATE="sel_template_${ODOO_KEY}$DATABASE_SUFFIX"
}

# odoo ARGS: through the script, since `python -m odoo` cannot start its evented process.
odoo() { "$PYTHON" "$ODOO_SCRIPT" "$@"; }

sql() { psql -X -q -A -t -v ON_ERROR_STOP=1 "$@"; }

database_exists() { [ -n "$(sql -d postgres -v name="$1" <<<"SELECT 1 FROM pg_database WHERE datname = :'name'")" ]; }

drop_database() {
    dropdb --if-exists --force "$1" 2>/dev/null || dropdb --if-exists "$1"
    rm -rf "${DATA_DIR:?}/filestore/$1"
}

# --- the template: Odoo with `stock`, made once for a version of Odoo

pregenerate_assets() {
    odoo shell -d "$1" --no-http --log-level=warn <<'PYTHON'
env["ir.qweb"]._pregenerate_assets_bundles()
env.cr.commit()
PYTHON
}

make_template() {
    local building="${TEMPLATE}_building"
    ! database_exists "$TEMPLATE" || return 0
    drop_database "$building"
    drop_database "$TEMPLATE"
    createdb "$building"
    quietly "making the template database: Odoo with stock (about 30 s)" \
        odoo -d "$building" -i stock --stop-after-init --no-http
    quietly "making the template database: the web client's files (about 20 s)" pregenerate_assets "$building"
    mv -T "$DATA_DIR/filestore/$building" "$DATA_DIR/filestore/$TEMPLATE"
    # Last, since a template counts as complete when it has its name.
    sql -d postgres -c "ALTER DATABASE \"$building\" RENAME TO \"$TEMPLATE\""
}

ensure_template() { database_exists "$TEMPLATE" || locked "$STATE/run/template.lock" make_template; }

copy_template() {
    drop_database "$1"
    createdb -T "$TEMPLATE" "$1"
    # Odoo replaces files of the filestore and never writes into one: links are as good as copies.
    cp -al "$DATA_DIR/filestore/$TEMPLATE" "$DATA_DIR/filestore/$1"
    # Not the template's: these sign sessions and name the database to others.
    sql -d "$1" -c "UPDATE ir_config_parameter SET value = gen_random_uuid() WHERE key IN ('database.uuid', 'database.secret')"
}

# make_database NAME [stock-only]
make_database() {
    ensure_template
    say "database $1: a copy of the template"
    copy_template "$1"
    [ "${2:-}" = stock-only ] || quietly "database $1: installing the addon" \
        odoo -d "$1" -i stock_event_ledger --stop-after-init --no-http
}
