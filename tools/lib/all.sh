# shellcheck shell=bash
# shellcheck source=tools/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=tools/lib/install.sh
source "$ROOT/tools/lib/install.sh"
# shellcheck source=tools/lib/postgresql.sh
source "$ROOT/tools/lib/postgresql.sh"
# shellcheck source=tools/lib/rabbitmq.sh
source "$ROOT/tools/lib/rabbitmq.sh"
# shellcheck source=tools/lib/odoo.sh
source "$ROOT/tools/lib/odoo.sh"
