# shellcheck shell=bash
# shellcheck disable=SC2034  # used by the files that source this one
# A PostgreSQL server of this checkout's own, reached through a unix socket in a private folder and nothing else.

PG_DATA="$STATE/postgresql/data"

# PostgreSQL refuses to run as root.
as_postgres() {
    (
        cd /
        if [ "$EUID" = 0 ]; then
            runuser -u postgres -- "$@"
        else
            "$@"
        fi
    )
}

# The version that made the data, else the newest.
pg_bin() {
    local version
    if [ -s "$PG_DATA/PG_VERSION" ]; then
        version="$(<"$PG_DATA/PG_VERSION")"
    else
        version="$(find /usr/lib/postgresql -mindepth 1 -maxdepth 1 -printf '%f\n' | sort -n | tail -n 1)"
    fi
    echo "/usr/lib/postgresql/$version/bin"
}

pg_is_external() { [ -n "${PGHOST:-}" ] && [ "$PGHOST" != "$SOCKETS" ]; }

pg_is_up() { "$(pg_bin)/pg_isready" -q -h "$SOCKETS" -p 5432; }

# In /tmp, where anyone may have made it: it must be ours and closed to others.
ensure_socket_folder() {
    local owner=root
    if [ "$EUID" = 0 ]; then owner=postgres; else owner="$(id -un)"; fi
    if [ ! -e "$SOCKETS" ]; then
        mkdir -m 700 "$SOCKETS"
        chown "$owner" "$SOCKETS"
    fi
    [ "$(stat -c '%F %U %a' "$SOCKETS")" = "directory $owner 700" ] || die "$SOCKETS is not a private folder of $owner: remove it"
}

pg_init() {
    local new="$STATE/postgresql/data.new"
    mkdir -p "$STATE/postgresql"
    if [ "$EUID" = 0 ]; then
        runuser -u postgres -- test -x "$STATE" || die "PostgreSQL's user postgres may not enter $STATE: choose another SEL_STATE"
        chown postgres: "$STATE/postgresql"
    fi
    chmod 700 "$STATE/postgresql"
    rm -rf "$new"
    quietly "making a PostgreSQL data folder" as_postgres "$(pg_bin)/initdb" -D "$new" -U postgres -A trust --locale=C.UTF-8 -E UTF8
    mv -T "$new" "$PG_DATA"
}

pg_start() {
    ! pg_is_up || return 0
    ensure_socket_folder
    [ -s "$PG_DATA/PG_VERSION" ] || pg_init
    # Alive without its socket, as after a clean-up of /tmp.
    as_postgres "$(pg_bin)/pg_ctl" -D "$PG_DATA" -m fast -w stop >/dev/null 2>&1 || true
    say "starting PostgreSQL"
    # The port only names the socket's file: no two servers share the folder.
    as_postgres "$(pg_bin)/pg_ctl" -D "$PG_DATA" -w -t 120 -l "$STATE/postgresql/log" \
        -o "-p 5432 -k $SOCKETS -c listen_addresses= -c max_connections=200" start >/dev/null </dev/null 9>&- ||
        die "PostgreSQL does not start: see $STATE/postgresql/log"
    "$(pg_bin)/psql" -X -q -h "$SOCKETS" -p 5432 -U postgres -d postgres -v ON_ERROR_STOP=1 <<'SQL'
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'odoo') THEN
        CREATE ROLE odoo LOGIN CREATEDB;
    END IF;
END $$;
SQL
}

pg_stop() {
    [ -e "$PG_DATA/postmaster.pid" ] || return 0
    say "stopping PostgreSQL"
    as_postgres "$(pg_bin)/pg_ctl" -D "$PG_DATA" -m fast -w -t 60 stop >/dev/null 2>&1 || true
}

# Exports PGHOST, PGPORT, PGUSER.
ensure_postgresql() {
    if pg_is_external; then
        ensure_packages postgresql-client
        export PGHOST PGPORT="${PGPORT:-5432}" PGUSER="${PGUSER:-$(id -un)}"
        # Other checkouts may use the same server.
        DATABASE_SUFFIX="_${ID:0:8}"
    else
        ensure_packages postgresql
        export PGHOST="$SOCKETS" PGPORT=5432 PGUSER=odoo
        unset PGPASSWORD PGDATABASE PGSERVICE PGOPTIONS
        DATABASE_SUFFIX=''
        pg_is_up || locked "$STATE/run/postgresql.lock" pg_start
    fi
}
