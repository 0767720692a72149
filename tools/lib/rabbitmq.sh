# shellcheck shell=bash
# A RabbitMQ server of this checkout's own. Its three listeners (AMQP, Erlang's distribution, and epmd, which tells
# where that is) are on the loopback interface.

RABBIT="$STATE/rabbitmq"

rabbit_is_external() {
    [ -n "${AMQP_URL:-}" ] || return 1
    # Ours, when it comes from an earlier eval "$(tools/env)": nobody else knows the password.
    [ ! -s "$RABBIT/password" ] || [[ "$AMQP_URL" != *"$(<"$RABBIT/password")"* ]]
}

rabbit_is_up() { running rabbitmq >/dev/null && port_taken "$(port amqp)"; }

rabbit_configure() {
    install -d -m 700 "$RABBIT"
    mkdir -p "$RABBIT/log" "$RABBIT/mnesia"
    (
        umask 077
        [ -s "$RABBIT/password" ] || od -An -N 24 -tx1 /dev/urandom | tr -d ' \n' >"$RABBIT/password"
        # The default user is made when the node starts for the first time; no guest, then.
        cat >"$RABBIT/rabbitmq.conf" <<CONF
listeners.tcp.1 = 127.0.0.1:$(port amqp)
default_vhost = /
default_user = odoo
default_pass = $(<"$RABBIT/password")
CONF
        echo '[].' >"$RABBIT/enabled_plugins"
        : >"$RABBIT/environment"
    )
}

rabbit_start() {
    local link="$SOCKETS/rabbitmq" i
    ! rabbit_is_up || return 0
    end rabbitmq
    end epmd
    ensure_socket_folder
    for i in amqp dist epmd; do take_port "$i"; done
    rabbit_configure
    ln -sfn "$RABBIT" "$link"
    say "starting RabbitMQ"
    launch epmd epmd -address 127.0.0.1 -port "$(port epmd)"
    launch rabbitmq env HOME="$link" \
        ERL_EPMD_PORT="$(port epmd)" \
        RABBITMQ_NODENAME=sel@localhost \
        RABBITMQ_DIST_PORT="$(port dist)" \
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1}' \
        RABBITMQ_CONF_ENV_FILE="$link/environment" \
        RABBITMQ_CONFIG_FILE="$link/rabbitmq.conf" \
        RABBITMQ_ADVANCED_CONFIG_FILE="$link/advanced.config" \
        RABBITMQ_ENABLED_PLUGINS_FILE="$link/enabled_plugins" \
        RABBITMQ_MNESIA_BASE="$link/mnesia" \
        RABBITMQ_LOG_BASE="$link/log" \
        RABBITMQ_PID_FILE="$link/pid" \
        /usr/lib/rabbitmq/bin/rabbitmq-server
    for ((i = 0; i < 600; i++)); do
        running rabbitmq >/dev/null || break
        # Its own pid, not the start script's, which would take seconds to end it.
        if port_taken "$(port amqp)" && [ -s "$RABBIT/pid" ]; then
            remember rabbitmq "$(<"$RABBIT/pid")"
            return
        fi
        sleep 0.2
    done
    die "RabbitMQ does not start: see $LOGS/rabbitmq.log"
}

rabbit_stop() {
    end rabbitmq
    end epmd
}

# Exports AMQP_URL and the password, which the addon reads from the environment and never from the database.
ensure_rabbitmq() {
    local credentials password
    if ! rabbit_is_external; then
        ensure_packages rabbitmq-server
        rabbit_is_up || locked "$STATE/run/rabbitmq.lock" rabbit_start
        AMQP_URL="amqp://odoo:$(<"$RABBIT/password")@127.0.0.1:$(port amqp)/%2F"
    fi
    credentials="${AMQP_URL#*://}"
    credentials="${credentials%%/*}"
    password=''
    if [[ "$credentials" = *@* ]]; then
        credentials="${credentials%@*}"
        [[ "$credentials" != *:* ]] || password="${credentials#*:}"
    fi
    STOCK_EVENT_LEDGER_AMQP_PASSWORD="$(printf '%b' "${password//%/\\x}")"
    export AMQP_URL STOCK_EVENT_LEDGER_AMQP_PASSWORD
}
